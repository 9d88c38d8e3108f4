'use strict';
// The table of models: every keystroke filters all of them, and fifty are drawn.
(() => {
  const { el, bdi, chip, time, precedence, say } = gitregSite;
  const form = document.getElementById('filters');
  if (!form) return;
  const PAGE = 50;
  const body = document.querySelector('#models tbody');
  const stages = JSON.parse(document.getElementById('models').dataset.stages);
  const total = Number(form.dataset.total);
  const field = (name) => document.getElementById(name);
  const fields = new Map([['q', field('q')], ['stage', field('f-stage')], ['type', field('f-type')], ['owner', field('f-owner')], ['tag', field('f-tag')]]);
  const state = { sort: 'name', down: false, page: 0 };
  let all = [];

  function take() {
    all = [];
    for (const part of [...gitregSite.parts.keys()].sort((a, b) => a - b)) all.push(...gitregSite.parts.get(part));
    for (const row of all) {
      if (row.text) continue;
      row.at = new Map(Object.entries(row.stages || {}));
      row.words = (row.tags || []).map(([name, value]) => (value ? `${name}: ${value}` : name));
      row.text = [row.name, row.title, row.about, row.type, ...(row.owners || []), ...row.words].filter(Boolean).join('\n').toLowerCase();
    }
  }

  function choices() {
    const lists = [['type', (row) => (row.type ? [row.type] : [])], ['owner', (row) => row.owners || []], ['tag', (row) => row.words]];
    for (const [name, of] of lists) {
      const select = fields.get(name);
      const kept = select.value || select.dataset.wanted || '';
      const counts = new Map();
      for (const row of all) for (const value of of(row)) counts.set(value, (counts.get(value) || 0) + 1);
      const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 300).map(([value]) => value).sort();
      if (kept && !most.includes(kept)) most.push(kept);
      select.replaceChildren(el('option', { value: '' }, 'any'), ...most.map((value) => el('option', { value }, value)));
      select.value = kept;
    }
  }

  function fits() {
    const words = fields.get('q').value.toLowerCase().split(/\s+/).filter(Boolean);
    const [stage, type, owner, tag] = ['stage', 'type', 'owner', 'tag'].map((name) => fields.get(name).value);
    return (row) => words.every((word) => row.text.includes(word))
      && (!stage || (stage === ' none' ? row.at.size === 0 : row.at.has(stage)))
      && (!type || row.type === type)
      && (!owner || (row.owners || []).includes(owner))
      && (!tag || row.words.includes(tag));
  }

  function ordering() {
    const lane = state.sort.startsWith('stage:') ? state.sort.slice(6) : null;
    const version = lane !== null ? (row) => row.at.get(lane) : (row) => row.latest;
    const names = (a, b) => (a.name < b.name ? -1 : 1);
    const sign = state.down ? -1 : 1;
    if (state.sort === 'name') return (a, b) => sign * names(a, b);
    if (state.sort === 'updated') return (a, b) => sign * (a.updated - b.updated) || names(a, b);
    if (state.sort === 'type') return (a, b) => sign * (a.type || '').localeCompare(b.type || '') || names(a, b);
    return (a, b) => {
      const [x, y] = [version(a), version(b)];
      if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1) || names(a, b); // what has none comes last
      return sign * precedence(x, y) || names(a, b);
    };
  }

  function line(row) {
    const link = `models/${row.name}/index.html`;
    const to = (version) => version && el('a', { href: `version.html#${row.name}@${version}` }, version);
    return el('tr', null,
      el('th', { scope: 'row' }, el('a', { href: link }, row.name),
        row.deprecated && el('span', { class: 'mark warn' }, 'deprecated'),
        row.odd && el('span', { class: 'mark warn', title: 'Its page has the reason' }, 'odd'),
        row.problems && el('span', { class: 'mark warn', title: 'By today\'s rules; its page has them' }, 'manifest problems'),
        (row.title || row.about) && el('span', { class: 'about', dir: 'auto' }, row.title || row.about)),
      el('td', { class: 'num' }, to(row.latest)),
      stages.map((stage) => el('td', { class: stage === 'production' ? 'num hot' : 'num' }, to(row.at.get(stage)))),
      el('td', null, row.type || ''),
      el('td', { class: 'owners' }, (row.owners || []).map((owner, i) => [i ? ', ' : '', bdi(owner)])),
      el('td', null, row.words.length > 0 && el('ul', { class: 'tags small' }, row.words.slice(0, 2).map((word) => el('li', null, bdi(word))), row.words.length > 2 && el('li', null, `+${row.words.length - 2}`))),
      el('td', { class: 'num' }, time(row.updated)));
  }

  function draw() {
    const found = all.filter(fits()).sort(ordering());
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    // Until all models are there, the page that the address names may not be.
    const at = Math.min(state.page, pages - 1);
    if (all.length >= total) state.page = at;
    const shown = found.slice(at * PAGE, (at + 1) * PAGE);
    const none = el('tr', null, el('td', { colspan: stages.length + 6, class: 'empty' }, 'No model fits. Clear a filter?'));
    body.replaceChildren(...(shown.length ? shown.map(line) : [none]));
    for (const head of document.querySelectorAll('th[data-sort]')) {
      if (head.dataset.sort === state.sort) head.setAttribute('aria-sort', state.down ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    }
    const of = all.length < total ? ` (${all.length.toLocaleString('en-US')} of ${total.toLocaleString('en-US')} loaded)` : '';
    field('found').textContent = `${found.length.toLocaleString('en-US')} model${found.length === 1 ? '' : 's'}${of}`;
    field('pager').hidden = pages === 1;
    field('where').textContent = `Page ${at + 1} of ${pages}`;
    field('earlier').disabled = at === 0;
    field('later').disabled = at === pages - 1;
  }

  function keep() {
    const said = new URLSearchParams();
    for (const [name, input] of fields) if (input.value) said.set(name, input.value);
    if (state.sort !== 'name' || state.down) said.set('sort', (state.down ? '-' : '') + state.sort);
    if (state.page) said.set('page', state.page + 1);
    history.replaceState(null, '', `#${said}`);
  }

  function recall() {
    const said = new URLSearchParams(location.hash.slice(1));
    for (const [name, input] of fields) {
      input.dataset.wanted = said.get(name) || '';
      input.value = input.dataset.wanted;
    }
    const sort = said.get('sort') || 'name';
    state.down = sort.startsWith('-');
    state.sort = sort.replace(/^-/, '');
    state.page = Math.max(0, (Number(said.get('page')) || 1) - 1);
  }

  function changed() {
    for (const input of fields.values()) input.dataset.wanted = '';
    state.page = 0;
    draw();
    keep();
  }

  for (const head of document.querySelectorAll('th[data-sort]')) {
    const button = el('button', { type: 'button', class: 'sort' }, ...head.childNodes);
    button.addEventListener('click', () => {
      state.down = state.sort === head.dataset.sort && !state.down;
      state.sort = head.dataset.sort;
      changed();
      say(`Sorted by ${button.textContent.trim()}, ${state.down ? 'descending' : 'ascending'}`);
    });
    head.replaceChildren(button);
  }
  for (const input of fields.values()) input.addEventListener('input', changed);
  form.addEventListener('submit', (event) => event.preventDefault());
  field('clear').addEventListener('click', () => {
    for (const input of fields.values()) input.value = '';
    changed();
    field('q').focus();
  });
  for (const [name, step] of [['earlier', -1], ['later', 1]]) {
    field(name).addEventListener('click', () => { state.page += step; draw(); keep(); document.getElementById('caption').scrollIntoView({ block: 'center' }); });
  }
  window.addEventListener('hashchange', () => { recall(); draw(); });
  document.addEventListener('keydown', (event) => {
    if (event.key === '/' && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) { event.preventDefault(); field('q').focus(); }
  });

  form.hidden = false;
  recall();
  take();
  choices();
  draw();
  (async () => {
    for (let i = 1; i < Number(form.dataset.parts); i += 1) {
      try { await gitregSite.script(`data/models-${i}.js`); } catch (error) { say('Some models could not be loaded'); }
      if (i % 5 === 0) { take(); draw(); }
    }
    take();
    choices();
    draw();
  })();
})();
