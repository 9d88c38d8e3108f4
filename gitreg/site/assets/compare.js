'use strict';
// Versions side by side; the fragment keeps which: compare.html#churn@1.0.0,churn@1.2.0
(() => {
  const { el, bdi, chip, time, number, precedence, base } = gitregSite;
  const field = (name) => document.getElementById(name);
  const MOST = 12;
  let chosen = [];

  function keep(list) {
    location.hash = list.join(',');
  }

  async function found(reference) {
    const [name, wanted] = reference.split('@');
    const model = await gitregSite.wanted(name);
    const version = model.versions.find((one) => one.version === (wanted === undefined || wanted === 'latest' ? model.latest : wanted));
    if (!version) throw new Error(reference);
    return { model, version, label: `${model.name}@${version.version}` };
  }

  // Rows: names in the order in which they come, a value of each version or undefined.
  function rows(columns) {
    const names = new Set(columns.flatMap((column) => [...column.keys()]));
    return [...names].map((name) => [name, columns.map((column) => column.get(name))]);
  }

  function best(values, way) {
    const finite = values.filter(Number.isFinite);
    if (!way || new Set(finite).size < 2) return () => false;
    const top = way === 'higher' ? Math.max(...finite) : Math.min(...finite);
    return (value) => value === top;
  }

  function ways(list) {
    const all = new Map();
    for (const { model } of list) for (const [name, way] of model.ways) all.set(name, way);
    return all;
  }

  function heads(list, first) {
    return [first, ...list.map(({ model, version, label }) => el('span', null, el('a', { href: `${base}version.html#${label}` }, bdi(label)), version.stages.length > 0 && [' ', version.stages.map(chip)]))];
  }

  function table(title, list, lines, cell) {
    if (!lines.length) return null;
    const made = lines.map(([name, values]) => {
      const same = values.every((value) => String(value) === String(values[0]));
      return [bdi(name), ...values.map((value) => cell ? cell(name, value, values) : el('td', { dir: 'auto', class: same ? '' : 'differs' }, value === undefined ? '' : value))];
    });
    const drawn = gitregSite.table(heads(list, 'Name'), made, title);
    drawn.firstChild.style.minWidth = `${150 + 150 * list.length}px`; // below that it scrolls
    return el('section', null, el('h2', null, title), drawn);
  }

  function metrics(list) {
    const all = ways(list);
    const lines = rows(list.map(({ version }) => version.metrics));
    const cell = (name, value, values) => {
      const top = best(values, all.get(name))(value);
      return el('td', { class: top ? 'num best' : 'num' }, value === undefined ? '' : number(value), top && el('span', { title: 'best' }, ' ★'), top && el('span', { class: 'hidden' }, ' best'));
    };
    const plots = lines.slice(0, 12).map(([name, values]) => {
      const top = best(values, all.get(name));
      const drawn = gitregPlots.bars(name, list.map(({ version }, i) => ({ label: list.every((one) => one.model === list[0].model) ? version.version : list[i].label, value: values[i], best: top(values[i]) })), all.get(name));
      return drawn && el('figure', null, el('figcaption', null, bdi(name), all.get(name) && el('span', { class: 'note' }, ` ${all.get(name)} is better`)), drawn);
    });
    return [table('Metrics', list, lines, cell), el('div', { class: 'plots wide' }, plots)];
  }

  function verdict(list) {
    const [old, fresh] = [list[0], list[list.length - 1]];
    const all = ways(list);
    const better = [];
    const worse = [];
    for (const [name, [before, after]] of rows([old.version.metrics, fresh.version.metrics])) {
      const way = all.get(name);
      if (!way || !Number.isFinite(before) || !Number.isFinite(after) || before === after) continue;
      ((after > before) === (way === 'higher') ? better : worse).push(name);
    }
    if (!better.length && !worse.length) return null;
    const names = (list_) => list_.slice(0, 5).flatMap((name, i) => [i ? ', ' : '', bdi(name)]);
    return el('p', { class: 'verdict' }, bdi(fresh.label), ' is ', better.length > 0 && ['better than ', bdi(old.label), ' by ', names(better)],
      worse.length > 0 && [better.length ? ', and worse by ' : ['worse than ', bdi(old.label), ' by '], names(worse)], '.');
  }

  const brief = (hash) => hash.replace(/^((?:sha256:|md5:)?[0-9a-f]{12})[0-9a-f]{20,}/, '$1');

  function facts({ version }) {
    const artifact = new Map(version.artifact);
    return new Map([
      ['type', version.type], ['format', artifact.get('format')], ['license', version.license],
      ['registered', new Date(version.created * 1000).toISOString().slice(0, 10)], ['by', version.by],
      ['artifact', brief(version.hash)], ['size', version.size === null ? undefined : gitregSite.bytes(version.size)], ['commit', version.commit.slice(0, 12)],
      ['digest', brief(version.digest)],
    ].filter(([, value]) => value));
  }

  function schema({ version }) {
    const said = [['input', version.inputs], ['output', version.outputs]].flatMap(([side, items]) =>
      items.map((item) => [`${side} ${item.name}`, `${item.type} ${item.shape}${item.optional ? ', optional' : ''}`]));
    return new Map(said);
  }

  function requirements({ version }) {
    return new Map(version.requirements.map((line) => { const [, name, rest] = /^([A-Za-z0-9._-]*)\s*(.*)$/.exec(line) || [line, line, '']; return [name.toLowerCase() || line, rest || 'any']; }));
  }

  function draw(list) {
    const place = field('comparison');
    if (list.length < 2) {
      place.replaceChildren(el('p', { class: 'empty' }, list.length ? 'Add another version to compare with.' : 'Add two versions, or more. A model\'s page lets you pick them, too.'));
      return;
    }
    const made = el('div', null, verdict(list), metrics(list),
      table('Parameters', list, rows(list.map(({ version }) => new Map(version.params)))),
      table('Schema', list, rows(list.map(schema))),
      table('Tags', list, rows(list.map(({ version }) => new Map(version.tags)))),
      table('Requirements', list, rows(list.map(requirements))),
      table('Facts', list, rows(list.map(facts))));
    place.replaceChildren(...made.childNodes);
  }

  async function show() {
    chosen = [...new Set(gitregSite.fragment().split(',').map((one) => one.trim()).filter(Boolean))].slice(0, MOST);
    const settled = await Promise.allSettled(chosen.map(found));
    const lost = chosen.filter((_, i) => settled[i].status === 'rejected');
    const list = settled.filter((one) => one.status === 'fulfilled').map((one) => one.value);
    field('trouble').hidden = !lost.length;
    field('trouble').textContent = lost.length ? `Not here: ${lost.join(', ')}` : '';
    field('chosen').replaceChildren(...chosen.map((name) => el('li', null, bdi(name), ' ',
      el('button', { type: 'button', class: 'drop', 'aria-label': `Remove ${name}`, onclick: () => keep(chosen.filter((other) => other !== name)) }, '×'))));
    draw(list);
    if (list.length > 1) gitregSite.say(`${list.length} versions compared`);
  }

  async function versions() {
    const select = field('which');
    const name = field('model').value.trim();
    try {
      const model = await gitregSite.wanted(name);
      const open = model.versions.filter((one) => !one.gone);
      select.replaceChildren(...open.map((one) => el('option', { value: one.version }, one.stages.length ? `${one.version} (${one.stages.join(', ')})` : one.version)));
      select.disabled = false;
      field('put').disabled = !open.length;
    } catch (error) {
      select.replaceChildren(el('option', { value: '' }, name ? 'no such model' : 'choose a model'));
      select.disabled = true;
      field('put').disabled = true;
    }
  }

  gitregSite.onRows(() => {
    const names = [...gitregSite.parts.values()].flat().slice(0, 2000).map((row) => row.name);
    field('names').replaceChildren(...names.map((name) => el('option', { value: name })));
  });
  field('add').hidden = false;
  field('add').addEventListener('submit', (event) => {
    event.preventDefault();
    const name = `${field('model').value.trim()}@${field('which').value}`;
    if (field('which').value && !chosen.includes(name)) keep([...chosen, name]);
  });
  field('model').addEventListener('change', versions);
  field('model').addEventListener('focus', () => gitregSite.script(`${base}data/models-0.js`).catch(() => {}), { once: true });
  window.addEventListener('hashchange', show);
  show();
})();
