'use strict';
// Draws what a model's page says in tables, and lets versions be picked for a comparison.
(() => {
  const { el, base } = gitregSite;
  const FIRST = 20; // versions that a long table shows before it is asked for the rest
  const [model] = gitregSite.models.values();
  if (!model) return;

  const timeline = document.getElementById('timeline');
  if (timeline && model.stays.length) {
    timeline.append(gitregSite.scroller('Stages over time', gitregPlots.timeline(model.lanes, model.stays)));
  }

  const plots = document.getElementById('plots');
  if (plots) {
    const versions = model.versions.filter((one) => !one.gone).sort((a, b) => gitregSite.precedence(a.version, b.version));
    const names = new Set(versions.flatMap((one) => [...one.metrics.keys()]));
    for (const name of [...names].slice(0, 12)) {
      const points = versions.filter((one) => one.metrics.has(name))
        .map((one) => ({ label: one.version, value: one.metrics.get(name), hot: one.stages.includes('production') }));
      const way = model.ways.get(name);
      const drawn = points.length && gitregPlots.line(name, points, way);
      if (drawn) plots.append(el('figure', null, el('figcaption', null, gitregSite.bdi(name), way && el('span', { class: 'note' }, ` ${way} is better`)), drawn));
    }
    if (!plots.children.length) plots.parentElement.querySelector('details').open = true; // then the table is all there is
    if (!plots.children.length || !document.querySelector('#plots .hot')) plots.previousElementSibling.querySelector('.note').remove();
    if (!plots.children.length) plots.remove();
  }

  const rest = [...document.querySelectorAll('#versions tbody tr')].slice(FIRST);
  if (rest.length > FIRST / 2) {
    const more = el('button', { type: 'button' }, `Show all ${rest.length + FIRST} versions`);
    for (const row of rest) row.hidden = true;
    more.addEventListener('click', () => {
      for (const row of rest) row.hidden = false;
      more.remove();
      rest[0].querySelector('a').focus();
    });
    document.getElementById('versions').parentElement.after(el('p', { class: 'more' }, more));
  }

  const button = document.getElementById('compare');
  const boxes = [...document.querySelectorAll('#versions .pick input')];
  if (boxes.length > 1) {
    button.hidden = false;
    for (const cell of document.querySelectorAll('#versions .pick')) cell.hidden = false;
    const picked = () => boxes.filter((box) => box.checked).map((box) => box.value);
    const tell = () => {
      button.disabled = picked().length < 2;
      button.textContent = picked().length < 2 ? 'Compare (pick two)' : `Compare ${picked().length} versions`;
    };
    for (const box of boxes) box.addEventListener('change', tell);
    button.addEventListener('click', () => {
      const names = picked().sort(gitregSite.precedence).map((version) => `${model.name}@${version}`);
      location.href = `${base}compare.html#${names.join(',')}`;
    });
    tell();
  }
})();
