'use strict';
// Shown by a server: the page follows the repository. What is typed or open is not taken away.
(() => {
  const EVERY = 3000;
  let seen = null;
  async function look() {
    if (document.visibilityState !== 'visible') return;
    try {
      const said = await (await fetch(`${gitregSite.base}api/stamp`, { cache: 'no-store' })).json();
      const before = seen;
      seen = said.stamp;
      if (before && before !== seen && !document.querySelector('dialog[open]') && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) location.reload();
      else if (before && before !== seen) seen = before; // later
    } catch (error) { /* the server has ended; what is shown stays */ }
  }
  setInterval(look, EVERY);
  look();
})();
