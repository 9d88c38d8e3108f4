'use strict';
// A version, named by the fragment: version.html#churn@1.2.0. `churn`, `churn@latest` and `churn#production` work too.
(() => {
  const { el, bdi, chip, time, number, base } = gitregSite;
  const place = document.getElementById('version');
  const registry = document.querySelector('.brand').textContent;

  async function found(reference) {
    const [, name, sign, rest] = /^([a-z][a-z0-9-]*)(?:([@#])(.+))?$/.exec(reference) || [];
    if (!name) throw new Error(reference);
    const model = await gitregSite.wanted(name);
    let wanted = !sign || rest === 'latest' ? model.latest : rest;
    if (sign === '#') wanted = new Map(model.stages).get(rest);
    const version = model.versions.find((one) => one.version === wanted);
    if (!version) throw new Error(reference);
    return [model, version];
  }

  function section(title, ...children) {
    return children.some(Boolean) && el('section', null, el('h2', null, title), children);
  }

  function facts(pairs) {
    return el('dl', { class: 'facts' }, pairs.filter(([, value]) => value !== '' && value !== null && value !== undefined && value !== false)
      .map(([name, value]) => el('div', null, el('dt', null, name), el('dd', { dir: 'auto' }, value))));
  }

  const pairs = (lines, label) => lines.length > 0 && gitregSite.table(['Name', 'Value'], lines.map(([name, value]) => [bdi(name), value]), label, 'pairs');

  function head(model, one) {
    const at = model.versions.indexOf(one);
    const to = (other, before, after) => other && el('a', { href: `#${model.name}@${other.version}` }, before, other.version, after);
    return [
      el('nav', { class: 'crumbs', 'aria-label': 'Breadcrumb' }, el('ol', null,
        el('li', null, el('a', { href: `${base}index.html` }, 'Models')),
        el('li', null, el('a', { href: `${base}models/${model.name}/index.html` }, bdi(model.name))),
        el('li', { 'aria-current': 'page' }, one.version))),
      el('div', { class: 'head' },
        el('h1', { tabindex: -1 }, bdi(model.name), ' ', el('span', { class: 'light' }, one.version)),
        el('p', { class: 'marks' }, one.stages.map(chip), one.latest && el('span', { class: 'mark' }, 'latest'), one.gone && el('span', { class: 'mark warn' }, 'deregistered ', time(one.gone)), model.deprecated && el('span', { class: 'mark warn' }, 'model deprecated')),
        one.about && el('p', { class: 'lead pre', dir: 'auto' }, one.about),
        one.description && el('p', { class: one.about ? 'note pre' : 'lead pre', dir: 'auto' }, one.description)),
      one.odd && el('div', { class: 'warning', role: 'note' },
        el('p', null, 'Its tag, or what that names, is odd; ', el('code', null, 'gitreg doctor'), ' tells what helps.'),
        el('ul', null, one.odd.map((reason) => el('li', { dir: 'auto' }, reason)))),
      one.problems.length > 0 && el('div', { class: 'warning', role: 'note' },
        el('p', null, 'This version\'s manifest has problems by today\'s rules; what could be read is shown.'),
        el('ul', null, one.problems.map((problem) => el('li', { dir: 'auto' }, problem)))),
      el('p', { class: 'actions', id: 'actions', 'data-model': model.name, 'data-version': one.version },
        model.latest && model.latest !== one.version && el('a', { class: 'button', href: `${base}compare.html#${model.name}@${one.version},${model.name}@${model.latest}` }, `Compare with ${model.latest}`)),
      el('nav', { class: 'around', 'aria-label': 'Other versions' }, to(model.versions[at + 1], '← ', ''), to(model.versions[at - 1], '', ' →')),
    ];
  }

  function schema(one) {
    const about = (item) => el('td', { class: item.about ? 'words' : '', dir: 'auto' }, item.optional && el('span', { class: 'mark' }, 'optional'), item.about);
    const lines = (side, items) => items.map((item) => [bdi(item.name), side, item.type, el('td', null, el('code', null, item.shape)), about(item)]);
    const all = [...lines('input', one.inputs), ...lines('output', one.outputs)];
    return all.length > 0 && gitregSite.table(['Name', 'Side', 'Type', 'Shape', 'Notes'], all, 'Schema');
  }

  function samples(said) {
    if (!said.file) return null;
    if (said.why) return el('p', { class: 'note' }, el('code', null, said.file), `: ${said.why}`);
    return [
      el('p', { class: 'note' }, el('code', null, said.file), `: ${said.rows.length < said.count ? `the first ${said.rows.length} of ${said.count}` : `${said.count} sample${said.count === 1 ? '' : 's'}`}`),
      gitregSite.table(['Sample', 'Input', 'Value'], said.rows.flatMap((fields, i) => fields.map(([name, value], j) => [j ? null : el('th', { scope: 'rowgroup', rowspan: fields.length }, String(i)), bdi(name), el('td', { class: 'words', dir: 'auto' }, el('code', null, value))])), 'Samples'),
    ];
  }

  function lineage(said) {
    if (said.nodes.length < 2) return null;
    const by = new Map(said.nodes.map((node) => [node.id, node]));
    const details = (node) => node.details.length > 0 && el('ul', null, node.details.map(([key, value]) => el('li', null, bdi(key), ': ', bdi(value))));
    const items = said.edges.map(([source, target, label]) => {
      const other = by.get(source === 'version' ? target : source);
      const of = target !== 'version' && source !== 'version' ? [' (for ', bdi(by.get(target).label), ')'] : '';
      return el('li', null, `${label} ${other.kind} `, bdi(other.label), of, details(other));
    });
    return [
      el('div', { class: 'plot' }, gitregSite.scroller('Lineage', gitregPlots.lineage(said.nodes, said.edges))),
      el('details', null, el('summary', null, 'As a list'), el('ul', { class: 'list' }, items)),
    ];
  }

  function snippets(one) {
    return one.snippets.map(([title, , text]) => el('div', { class: 'snippet' }, el('h3', null, title), el('pre', { tabindex: 0 }, el('code', null, text))));
  }

  function metrics(model, one) {
    const lines = [...one.metrics].map(([name, value]) => [bdi(name), el('td', { class: 'num' }, number(value)), model.ways.get(name) || '']);
    return lines.length > 0 && gitregSite.table(['Metric', el('th', { scope: 'col', class: 'num' }, 'Value'), 'Better'], lines, 'Metrics');
  }

  function stays(one) {
    const lines = one.stays.slice().reverse().map((stay) => [chip(stay.stage), time(stay.since, true), stay.until ? time(stay.until, true) : 'now', bdi(stay.by), el('td', { class: stay.message ? 'words' : '', dir: 'auto' }, stay.message)]);
    return lines.length > 0 && gitregSite.table(['Stage', 'From', 'Until', 'By', 'Why'], lines, 'Stages');
  }

  function draw(model, one) {
    document.title = `${model.name} ${one.version} - ${registry}`;
    const made = el('div', null,
      head(model, one),
      facts([
        ['Registered', time(one.created, true)], ['By', bdi(one.by)], ['Commit', gitregSite.commit(one.commit)], ['Tag', el('code', null, one.tag)],
        ['Type', one.type], ['License', one.license], ['Id', el('code', null, one.id)], ['Address', el('code', null, one.uri)],
        ['Manifest', one.file && el('code', null, one.file)], ['Owners', one.owners.length > 0 && one.owners.join(', ')],
      ]),
      one.tags.length > 0 && el('ul', { class: 'tags', 'aria-label': 'Tags' }, one.tags.map(([name, value]) => el('li', null, bdi(name), value && [': ', bdi(value)]))),
      el('div', { class: 'duo' }, section('Metrics', metrics(model, one)), section('Parameters', pairs(one.params, 'Parameters'))),
      section('Schema', schema(one)),
      !one.gone && one.snippets.length > 0 && section('How to load it', snippets(one)),
      section('Samples', samples(one.samples)),
      section('Lineage', lineage(one.lineage)),
      el('div', { class: 'duo' }, section('Artifact', pairs([...one.artifact, ...(one.hash ? [['hash', one.hash]] : []), ...(one.size !== null ? [['size', gitregSite.bytes(one.size)]] : [])], 'Artifact')),
      section('Packages and digests', one.trailers.length ? pairs(one.trailers, 'What the tag says') : el('p', { class: 'note' }, 'The tag says no digests: it was not written by gitreg.'))),
      section('Stages', stays(one)),
      section('Requirements', one.requirements.length > 0 && el('ul', { class: 'list mono' }, one.requirements.map((line) => el('li', null, bdi(line))))));
    place.replaceChildren(...made.childNodes);
    place.removeAttribute('aria-busy');
    gitregSite.copies(place);
    document.dispatchEvent(new CustomEvent('gitreg-version', { detail: [model, one] }));
  }

  async function show(first) {
    if (first) place.append(el('p', { class: 'note' }, 'Loading'));
    const reference = gitregSite.fragment();
    try {
      const [model, version] = await found(reference);
      draw(model, version);
      if (!first) { scrollTo(0, 0); place.querySelector('h1').focus(); }
    } catch (error) {
      document.title = `No such version - ${registry}`;
      place.removeAttribute('aria-busy');
      place.replaceChildren(el('div', { class: 'head' }, el('h1', { tabindex: -1 }, 'No such version')),
        el('p', { class: 'empty' }, reference ? ['There is no ', el('code', null, bdi(reference)), ' here. '] : 'No version is named in the address. ', el('a', { href: `${base}index.html` }, 'All models')));
    }
  }

  window.addEventListener('hashchange', () => show(false));
  show(true);
})();
