package impact

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

// hugeAnswer is the length of the huge answer, in bytes.
const hugeAnswer = 100_000_000

// after reads the request's body and then answers.
func after(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			answer(w, r)
		}
	}
}

func healthy(p place) http.HandlerFunc {
	return after(func(w http.ResponseWriter, _ *http.Request) {
		p.received.Add(1)
		_, _ = io.WriteString(w, "shadow\n")
	})
}

func neverAnswer(place) http.HandlerFunc {
	return after(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

func answerLate(place) http.HandlerFunc {
	return after(func(w http.ResponseWriter, r *http.Request) {
		if wait(r.Context(), 5*time.Second) {
			_, _ = io.WriteString(w, "shadow\n")
		}
	})
}

func neverEnd(place) http.HandlerFunc {
	return after(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
}

func answerEndlessly(place) http.HandlerFunc {
	return after(func(w http.ResponseWriter, r *http.Request) {
		block := make([]byte, 64<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
}

func answerHugely(place) http.HandlerFunc {
	return after(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(hugeAnswer))
		block := make([]byte, 64<<10)
		for left := hugeAnswer; left > 0 && r.Context().Err() == nil; {
			n, err := w.Write(block[:min(left, len(block))])
			if err != nil {
				return
			}
			left -= n
		}
	})
}

func answer500(place) http.HandlerFunc {
	return after(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "shadow", http.StatusInternalServerError)
	})
}
