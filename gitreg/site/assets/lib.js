'use strict';
// What every page needs: elements made of texts (never of HTML), data that scripts hand over, small words.
// Names of models and stages are other people's: they are keys of Maps, never of objects.
const gitregSite = (() => {
  const base = document.body.dataset.base;
  const models = new Map();
  const parts = new Map();
  const loads = new Map();
  const listeners = [];
  const DATA = /^(\.\.\/)*(models\/[a-z][a-z0-9-]*\/data|data\/models-[0-9]+)\.js$/;

  const policy = window.trustedTypes
    ? window.trustedTypes.createPolicy('gitreg', { createScriptURL: checked })
    : { createScriptURL: checked };

  function checked(url) {
    if (!DATA.test(url)) throw new TypeError('not a file of data');
    return url;
  }

  // Data ------------------------------------------------------------------------------------------

  function rows(part, list) {
    parts.set(part, list);
    for (const listener of listeners) listener();
  }

  function model(name, data) {
    for (const version of data.versions) {
      for (const [key, value] of Object.entries(version)) {
        if (POOLED.has(key) && typeof value === 'number') version[key] = data.pool[value];
      }
      version.metrics = new Map(version.metrics.map(([metric, value]) => [metric, Number(value)]));
    }
    data.ways = new Map(Object.entries(data.ways));
    models.set(name, data);
  }

  const POOLED = new Set(['inputs', 'outputs', 'requirements', 'samples', 'tags', 'params', 'owners', 'problems', 'artifact']);

  function script(url) {
    if (!loads.has(url)) {
      loads.set(url, new Promise((done, failed) => {
        const tag = document.createElement('script');
        tag.src = policy.createScriptURL(url);
        tag.onload = () => done();
        tag.onerror = () => { loads.delete(url); tag.remove(); failed(new Error(url)); };
        document.head.append(tag);
      }));
    }
    return loads.get(url);
  }

  async function wanted(name) {
    if (!/^[a-z][a-z0-9-]*$/.test(name)) throw new Error(name);
    if (!models.has(name)) await script(`${base}models/${name}/data.js`);
    if (!models.has(name)) throw new Error(name);
    return models.get(name);
  }

  // Elements --------------------------------------------------------------------------------------

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? '' : String(value));
    }
    for (const child of children.flat(Infinity)) {
      if (child !== null && child !== undefined && child !== false) node.append(child);
    }
    return node;
  }

  function el(tag, attributes, ...children) {
    return fill(document.createElement(tag), attributes, children);
  }

  function svg(tag, attributes, ...children) {
    return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
  }

  const bdi = (text) => el('bdi', null, text);

  function chip(stage) {
    return el('span', { class: stage === 'production' ? 'chip hot' : 'chip' }, bdi(stage));
  }

  function scroller(label, child) {
    return el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': label }, child);
  }

  function table(heads, lines, label, kind) {
    const made = el('table', { class: kind },
      el('thead', null, el('tr', null, heads.map((head) => (head instanceof HTMLTableCellElement ? head : el('th', { scope: 'col' }, head))))),
      el('tbody', null, lines.map((line) => el('tr', null, line.map((cell, i) =>
        cell === null ? null : i === 0 && !(cell instanceof HTMLTableCellElement) ? el('th', { scope: 'row' }, cell) : cell instanceof HTMLTableCellElement ? cell : el('td', { dir: 'auto' }, cell))))));
    return scroller(label, made);
  }

  function time(seconds, precise) {
    const iso = new Date(seconds * 1000).toISOString();
    return el('time', { datetime: iso }, precise ? `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC` : iso.slice(0, 10));
  }

  // Words -----------------------------------------------------------------------------------------

  function number(value) {
    if (value === undefined || value === null) return '';
    if (Number.isNaN(value)) return 'NaN';
    if (!Number.isFinite(value)) return value > 0 ? '∞' : '-∞';
    return Number.isSafeInteger(value) ? value.toLocaleString('en-US') : String(Number(value.toPrecision(6)));
  }

  function bytes(count) {
    const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
    let at = 0;
    let left = count;
    while (left >= 1024 && at < units.length - 1) { left /= 1024; at += 1; }
    return at ? `${left.toFixed(1)} ${units[at]} (${count.toLocaleString('en-US')} bytes)` : `${count} bytes`;
  }

  function precedence(one, other) {
    const split = (text) => { const at = text.indexOf('-'); return at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + 1)]; };
    const [core, pre] = split(one);
    const [core2, pre2] = split(other);
    const a = core.split('.').map(Number);
    const b = core2.split('.').map(Number);
    for (let i = 0; i < 3; i += 1) if (a[i] !== b[i]) return a[i] - b[i];
    if (pre === null || pre2 === null) return (pre === null) - (pre2 === null);
    const x = pre.split('.');
    const y = pre2.split('.');
    for (let i = 0; i < Math.min(x.length, y.length); i += 1) {
      const digits = [/^\d+$/.test(x[i]), /^\d+$/.test(y[i])];
      if (x[i] === y[i]) continue;
      if (digits[0] && digits[1]) return Number(x[i]) - Number(y[i]);
      if (digits[0] !== digits[1]) return digits[0] ? -1 : 1;
      return x[i] < y[i] ? -1 : 1;
    }
    return x.length - y.length;
  }

  function say(text) {
    const place = document.getElementById('say');
    place.textContent = '';
    setTimeout(() => { place.textContent = text; }, 50);
  }

  function web() {
    const meta = document.querySelector('meta[name="gitreg-web"]');
    return meta && meta.content.startsWith('https://') ? meta.content : null;
  }

  function commit(oid) {
    const short = el('code', { title: oid }, oid.slice(0, 12));
    return web() ? el('a', { href: `${web()}/commit/${oid}`, rel: 'noopener noreferrer' }, short) : short;
  }

  // The fragment, without the token that a server's address has ------------------------------------

  let token = null;
  const sent = /(?:^#|&)token=([A-Za-z0-9_-]+)$/.exec(location.hash);
  try {
    if (sent) sessionStorage.setItem('gitreg-token', sent[1]);
    token = sent ? sent[1] : sessionStorage.getItem('gitreg-token');
  } catch (error) { token = sent ? sent[1] : null; }
  if (sent) history.replaceState(null, '', location.pathname + location.search + location.hash.replace(/(^#|&)token=.*$/, ''));

  function fragment() {
    try { return decodeURIComponent(location.hash.slice(1)); } catch (error) { return location.hash.slice(1); }
  }

  // Every page ------------------------------------------------------------------------------------

  function copied(pre) {
    const button = el('button', { type: 'button', class: 'copy' }, 'Copy');
    button.addEventListener('click', async () => {
      try {
        await navigator.clipboard.writeText(pre.textContent);
      } catch (error) {
        const range = document.createRange();
        range.selectNodeContents(pre);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        document.execCommand('copy');
      }
      button.textContent = 'Copied';
      say('Copied');
      setTimeout(() => { button.textContent = 'Copy'; }, 1500);
    });
    return button;
  }

  function copies(within) {
    for (const pre of within.querySelectorAll('.snippet pre')) {
      if (!pre.parentElement.querySelector('.copy')) pre.before(copied(pre));
    }
  }

  function theme() {
    const button = document.getElementById('theme');
    const root = document.documentElement;
    const show = () => { button.textContent = `Theme: ${root.dataset.theme || 'auto'}`; };
    button.hidden = false;
    button.addEventListener('click', () => {
      const next = { auto: 'light', light: 'dark', dark: 'auto' }[root.dataset.theme || 'auto'];
      if (next === 'auto') delete root.dataset.theme;
      else root.dataset.theme = next;
      try {
        if (next === 'auto') localStorage.removeItem('gitreg-theme');
        else localStorage.setItem('gitreg-theme', next);
      } catch (error) { /* kept for this page alone */ }
      show();
    });
    show();
  }

  document.querySelector('.skip').addEventListener('click', (event) => {
    event.preventDefault(); // the fragment is the page's choice
    document.getElementById('main').focus();
  });
  theme();
  copies(document);

  return {
    base, models, parts, rows, model, wanted, script, el, svg, bdi, chip, scroller, table, time, number, bytes,
    precedence, say, commit, fragment, copies, onRows: (listener) => listeners.push(listener),
    token: () => token,
  };
})();
