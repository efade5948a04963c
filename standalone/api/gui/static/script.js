// Keeps the parts of the page that are marked data-live up to date.
"use strict";
(() => {
  const every = 5000;
  const live = [...document.querySelectorAll("[data-live]")].map((e) => e.id);
  if (!live.length) return;
  const said = document.getElementById("live");
  async function update() {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { signal: AbortSignal.timeout(every) });
        if (answer.redirected) return location.assign(answer.url); // to log in
        if (!answer.ok) throw new Error(answer.status);
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const id of live) {
          const old = document.getElementById(id), now = fresh.getElementById(id);
          if (!old || !now || old.innerHTML === now.innerHTML) continue;
          // Who is at a link by keyboard, or has scrolled, stays there.
          const at = old.contains(document.activeElement) ? document.activeElement : null;
          const scrolled = [...old.querySelectorAll(".wide")].map((e) => e.scrollLeft);
          old.replaceWith(now);
          now.querySelectorAll(".wide").forEach((e, i) => { e.scrollLeft = scrolled[i] || 0; });
          if (at) {
            const same = [...now.querySelectorAll("a, [tabindex]")].find((e) =>
              e.tagName === at.tagName && e.getAttribute("href") === at.getAttribute("href"));
            if (same) same.focus({ preventScroll: true });
          }
        }
        if (said.textContent) said.textContent = "";
      } catch {
        said.textContent = "– no answer from the control plane; what you see is old";
      }
    }
    setTimeout(update, every);
  }
  setTimeout(update, every);
})();
