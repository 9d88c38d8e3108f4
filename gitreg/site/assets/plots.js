'use strict';
// Pictures, drawn as SVG. Each has a name that says what it shows; the same numbers are in a table beside it.
const gitregPlots = (() => {
  const { svg, number } = gitregSite;

  function picture(width, height, label, ...children) {
    return svg('svg', { viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': label }, svg('title', null, label), ...children);
  }

  function text(x, y, content, attributes) {
    return svg('text', { x, y, ...attributes }, content);
  }

  function short(content, most) {
    return content.length > most ? `${content.slice(0, most - 1)}…` : content;
  }

  // Numbers beside an axis: short, whatever their size.
  function tick(value) {
    const size = Math.abs(value);
    return size !== 0 && (size >= 1e7 || size < 1e-4) ? value.toExponential(2).replace(/\.?0+e/, 'e').replace('e+', 'e') : number(value);
  }

  // Room that a text of so many characters needs, at the size of marks on an axis.
  const room = (texts, least) => Math.max(least, ...texts.map((one) => one.length * 6.6 + 12));

  const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

  // A metric over versions: [{label, value, hot}] in order. What is no finite number is a gap.
  function line(name, points, way) {
    const finite = points.map((point) => point.value).filter(Number.isFinite);
    if (finite.length < 2) return null; // no line; the table has it
    const [width, height, right, top, bottom] = [320, 150, 12, 14, 26];
    const left = room([tick(Math.min(...finite)), tick(Math.max(...finite))], 40);
    let low = Math.min(...finite);
    let high = Math.max(...finite);
    const spare = (high - low) * 0.08 || Math.abs(high) * 0.05 || 1;
    if (!Number.isFinite(high - low)) return null;
    low -= spare;
    high += spare;
    const x = (i) => left + (points.length === 1 ? 0.5 : i / (points.length - 1)) * (width - left - right);
    const y = (value) => top + (1 - (value - low) / (high - low)) * (height - top - bottom);
    const marks = [];
    for (const value of [Math.min(...finite), Math.max(...finite)]) {
      marks.push(svg('line', { class: 'grid', x1: left, x2: width - right, y1: y(value), y2: y(value) }));
      marks.push(text(left - 8, y(value) + 4, tick(value), { class: 'tick', 'text-anchor': 'end' }));
      if (Math.min(...finite) === Math.max(...finite)) break;
    }
    let path = '';
    points.forEach((point, i) => {
      if (!Number.isFinite(point.value)) return;
      const joined = i > 0 && Number.isFinite(points[i - 1].value);
      path += `${joined ? 'L' : 'M'}${x(i).toFixed(1)} ${y(point.value).toFixed(1)}`;
    });
    const dots = points.map((point, i) => Number.isFinite(point.value) && svg('g', null,
      svg('circle', { class: point.hot ? 'dot hot' : 'dot', cx: x(i), cy: y(point.value), r: point.hot ? 5 : points.length > 40 ? 1.5 : 3 }),
      svg('circle', { class: 'reach', cx: x(i), cy: y(point.value), r: 9 }, svg('title', null, `${point.label}: ${number(point.value)}${point.hot ? ' (in production)' : ''}`))));
    const last = points[points.length - 1];
    const label = `${name} of ${points.length} versions, from ${number(finite[0])} to ${number(finite[finite.length - 1])}${way ? `; ${way} is better` : ''}`;
    return picture(width, height, label, marks, svg('path', { class: 'stroke', d: path }), dots,
      text(left, height - 8, short(points[0].label, 18), { class: 'tick' }),
      points.length > 1 && text(width - right, height - 8, short(last.label, 18), { class: 'tick', 'text-anchor': 'end' }));
  }

  // When which version was in which stage.
  function timeline(lanes, stays) {
    const [width, right, row, top] = [860, 14, 36, 8];
    const left = room(lanes.map((stage) => short(stage, 15)), 70);
    const height = top + lanes.length * row + 30;
    const now = Math.max(Math.floor(Date.now() / 1000), ...stays.map((stay) => stay.until || stay.since));
    const start = Math.min(...stays.map((stay) => stay.since));
    const span = Math.max(now - start, 1);
    const x = (moment) => left + ((moment - start) / span) * (width - left - right);
    const parts = [];
    lanes.forEach((stage, i) => {
      parts.push(svg('line', { class: 'grid', x1: left, x2: width - right, y1: top + (i + 1) * row, y2: top + (i + 1) * row }));
      parts.push(text(left - 12, top + i * row + row / 2 + 4, short(stage, 15), { class: 'lane', 'text-anchor': 'end' }));
    });
    for (let i = 0; i <= 4; i += 1) {
      const at = start + (span * i) / 4;
      const anchor = i === 0 ? 'start' : i === 4 ? 'end' : 'middle';
      const same = i > 0 && day(at) === day(start + (span * (i - 1)) / 4);
      if (!same) parts.push(svg('line', { class: 'grid', x1: x(at), x2: x(at), y1: top, y2: height - 26 }));
      if (!same) parts.push(text(x(at), height - 10, day(at), { class: 'tick', 'text-anchor': anchor }));
    }
    for (const stay of stays) {
      const from = x(stay.since);
      const wide = Math.max(x(stay.until || now) - from - 1.5, 2);
      const y = top + lanes.indexOf(stay.stage) * row + 6;
      const name = stay.version || '?';
      const open = !stay.until;
      parts.push(svg('g', null,
        svg('title', null, `${name} in ${stay.stage}, ${day(stay.since)} to ${open ? 'now' : day(stay.until)}`),
        svg('rect', { class: open ? 'stay open' : 'stay', x: from, y, width: wide, height: row - 12, rx: 4 }),
        wide > name.length * 7 + 14 && text(from + 8, y + (row - 12) / 2 + 4, name, { class: open ? 'inside open' : 'inside' })));
    }
    return picture(width, height, `Versions in ${lanes.length} stages from ${day(start)} to ${day(now)}; the table below has each`, parts);
  }

  // One metric of several versions side by side: [{label, value, best}].
  function bars(name, items, way) {
    const finite = items.map((item) => item.value).filter(Number.isFinite);
    if (finite.length < 2) return null; // nothing stands beside it
    const [width, right, row] = [420, 92, 28];
    const labels = items.map((item) => short(item.label, 22));
    const left = room(labels, 40) + 4;
    const low = Math.min(0, ...finite);
    const high = Math.max(0, ...finite);
    if (!Number.isFinite(high - low)) return null;
    const x = (value) => left + ((value - low) / (high - low || 1)) * (width - left - right);
    const parts = items.map((item, i) => {
      const y = i * row + 5;
      const shown = Number.isFinite(item.value);
      const from = shown ? Math.min(x(item.value), x(0)) : x(0);
      const long = shown ? Math.max(Math.abs(x(item.value) - x(0)), 1.5) : 0;
      return svg('g', null, svg('title', null, `${item.label}: ${number(item.value)}${item.best ? ' (best)' : ''}`),
        text(left - 10, y + 13, labels[i], { class: 'lane', 'text-anchor': 'end' }),
        shown && svg('rect', { class: item.best ? 'bar best' : 'bar', x: from, y, width: long, height: row - 10, rx: 3 }),
        text(shown ? Math.max(x(item.value), x(0)) + 6 : left, y + 13, shown || item.value !== undefined ? `${Number.isFinite(item.value) ? tick(item.value) : number(item.value)}${item.best ? ' ★' : ''}` : 'none', { class: item.best ? 'tick best' : 'tick' }));
    });
    return picture(width, items.length * row + 4, `${name} of ${items.length} versions${way ? `; ${way} is better` : ''}`, parts);
  }

  // Where a version comes from (left), and where it went (right).
  function lineage(nodes, edges) {
    const [wide, high, gapX, gapY] = [212, 46, 56, 12];
    const by = new Map(nodes.map((node) => [node.id, node]));
    const into = edges.filter((edge) => edge[1] === 'version').map((edge) => [by.get(edge[0]), edge]);
    const before = edges.filter((edge) => edge[0] !== 'version' && edge[1] !== 'version').map((edge) => [by.get(edge[0]), edge]);
    const after = edges.filter((edge) => edge[0] === 'version').map((edge) => [by.get(edge[1]), edge]);
    const columns = [before, into, [[by.get('version'), null]], after].filter((column) => column.length);
    const rows = Math.max(...columns.map((column) => column.length));
    const height = rows * (high + gapY) + gapY;
    const width = columns.length * wide + (columns.length - 1) * gapX + 4;
    const at = new Map();
    columns.forEach((column, i) => column.forEach(([node], j) => {
      const free = height - column.length * (high + gapY) + gapY;
      at.set(node.id, [2 + i * (wide + gapX), free / 2 + j * (high + gapY)]);
    }));
    const lines = edges.map(([source, target]) => {
      const [x1, y1] = at.get(source);
      const [x2, y2] = at.get(target);
      const middle = (x1 + wide + x2) / 2;
      return svg('path', { class: 'edge', d: `M${x1 + wide} ${y1 + high / 2}C${middle} ${y1 + high / 2} ${middle} ${y2 + high / 2} ${x2} ${y2 + high / 2}` });
    });
    const boxes = columns.flat().map(([node, edge]) => {
      const [x, y] = at.get(node.id);
      return svg('g', null, svg('title', null, [node.label, ...node.details.map(([key, value]) => `${key}: ${value}`)].join('\n')),
        svg('rect', { class: node.id === 'version' ? 'node self' : 'node', x, y, width: wide, height: high, rx: 6 }),
        text(x + 11, y + 18, short(edge ? `${edge[2]} · ${node.kind}` : node.kind, 30), { class: 'kind' }),
        text(x + 11, y + 35, short(node.kind === 'commit' ? node.label.slice(0, 12) : node.label, 23), { class: 'label' }));
    });
    return picture(width, height, 'What the version was made from, and where it went; the list below says the same', lines, boxes);
  }

  return { line, timeline, bars, lineage };
})();
