'use strict';
// Registers and promotes: first shows what would happen, then does just that. The server judges; nothing here is trusted.
(() => {
  const { el, bdi, base, say } = gitregSite;
  const token = gitregSite.token();
  let offers = null;

  async function ask(path, body) {
    const answer = await fetch(`${base}api/${path}`, {
      method: 'POST', headers: { 'Content-Type': 'application/json', 'X-Gitreg-Token': token || '' }, body: JSON.stringify(body || {}),
    });
    const kind = answer.headers.get('Content-Type') || '';
    if (!kind.startsWith('application/json')) throw { error: (await answer.text()).trim() };
    const said = await answer.json();
    if (!answer.ok) throw said;
    return said;
  }

  function trouble(error) {
    return el('div', { class: 'warning', role: 'alert' }, el('p', { class: 'pre' }, error.error || 'The server does not answer. Has it ended?'), error.hint && el('p', { class: 'pre' }, error.hint));
  }

  // The dialog --------------------------------------------------------------------------------------

  const TITLES = { promote: ['Promote ', ''], demote: ['Take ', ' out of a stage'], rollback: ['Roll back ', ''], register: ['Register ', ''] };

  function choice(name, value, title, about, checked) {
    return el('label', { class: 'choice' }, el('input', { type: 'radio', name, value, checked }), el('span', null, title, el('span', { class: 'note' }, ` ${about}`)));
  }

  function ways(deed) {
    const push = offers.remote !== null;
    const list = deed === 'register'
      ? [choice('way', 'apply', 'Write the tag here', '', true), push && choice('way', 'push', `Write and push to ${offers.remote}`, '')]
      : [choice('way', 'branch', 'A commit on a branch of its own', 'to be pushed and reviewed', !push), push && choice('way', 'push', `Push the branch to ${offers.remote}`, 'for a pull request', true),
        choice('way', 'apply', 'Now, without a review', 'commits to the default branch and writes the tags')];
    return el('fieldset', { class: 'ways' }, el('legend', { class: 'hidden' }, 'How'), list);
  }

  function open(order) {
    const opener = document.activeElement;
    const dialog = el('dialog', { 'aria-labelledby': 'dialog-title' });
    const title = el('h2', { id: 'dialog-title', tabindex: -1 }, TITLES[order.deed][0], bdi(order.version ? `${order.model} ${order.version}` : order.model), TITLES[order.deed][1]);
    const close = () => dialog.close();
    dialog.addEventListener('close', () => { dialog.remove(); if (opener) opener.focus(); });
    document.body.append(dialog);
    first();
    dialog.showModal();

    function show(body, ...buttons) {
      dialog.replaceChildren(el('div', { class: 'body' }, el('div', { class: 'head' }, title), body),
        el('div', { class: 'foot' }, el('button', { type: 'button', onclick: close }, 'Close'), buttons));
      if (dialog.open) title.focus(); // what had the focus is gone
    }

    function first() {
      const stage = order.deed !== 'register' && el('div', { class: 'field' }, el('label', { for: 'd-stage' }, 'Stage'),
        el('select', { id: 'd-stage' }, (order.among || offers.stages).map((name) => el('option', { value: name }, name))));
      const note = order.deed !== 'register' && el('div', { class: 'field' }, el('label', { for: 'd-note' }, 'Why (for the reviewer)'), el('textarea', { id: 'd-note', rows: 2, maxlength: 4000 }));
      const how = ways(order.deed);
      show([stage, note, how], el('button', { type: 'button', class: 'main', onclick: () => look() }, 'Show what would happen'));
      if (order.stage) stage.querySelector('select').value = order.stage;

      async function look() {
        const said = { deed: order.deed, model: order.model, version: order.version || '', stage: stage ? stage.querySelector('select').value : '',
          way: how.querySelector('input:checked').value, note: note ? note.querySelector('textarea').value : '' };
        show(el('p', { class: 'note', role: 'status' }, 'Looking: the gates are judged …'));
        try {
          second(said, await ask('look', { order: said }));
        } catch (error) {
          show(trouble(error), el('button', { type: 'button', onclick: first }, 'Back'));
        }
      }
    }

    function second(said, seen) {
      if (seen.nothing) {
        show(el('p', null, `Nothing to do: ${seen.stage} says so already.`), el('button', { type: 'button', onclick: first }, 'Back'));
        return;
      }
      const where = { branch: `A commit on the new branch ${seen.branch}, on top of ${seen.base}. It stays here; nothing else changes.`,
        push: said.deed === 'register' ? `A tag, here and on ${seen.remote}.` : `A commit on the new branch ${seen.branch}, on top of ${seen.base}, pushed to ${seen.remote}; then a pull request.`,
        apply: said.deed === 'register' ? `A tag at commit ${seen.base}, here.` : `A commit on ${seen.remote ? `${seen.remote}/` : ''}${seen.base} and the tags that record it, now, without a review.` }[said.way];
      const stopped = seen.gates.some((gate) => !gate.passed);
      const go = el('button', { type: 'button', class: 'main', disabled: !seen.ok, onclick: () => run(said, seen) }, { branch: 'Make the branch', push: 'Push', apply: said.deed === 'register' ? 'Register' : 'Do it now' }[said.way]);
      show([
        el('ul', { class: 'list' }, seen.changes.map(([model, before, after]) => el('li', null, bdi(model), `: ${before} → ${after}`, seen.stage && ` in ${seen.stage}`))),
        seen.ok && el('p', { id: 'dialog-where' }, where),
        stopped && el('p', { class: 'warning', role: 'alert' }, `The gates of ${seen.stage} do not let it in.`),
        !stopped && seen.refusals.length > 0 && el('div', { class: 'warning', role: 'alert' }, seen.refusals.map((line) => el('p', { dir: 'auto' }, line))),
        seen.gates.length > 0 && [el('h3', null, 'Gates'), el('ul', { class: 'gates' }, seen.gates.map((gate) => el('li', { class: gate.passed ? '' : 'refused' }, el('strong', null, gate.gate), `: ${gate.text}`, el('span', { class: 'hidden' }, gate.passed ? ' passed' : ' refused'))))],
        seen.ok && seen.actions.length > 0 && [el('h3', null, said.way === 'apply' ? 'What is recorded' : 'What the merge will record'), el('ul', { class: 'list' }, seen.actions.map((line) => el('li', null, bdi(line))))],
        seen.ok && seen.message && [el('h3', null, said.deed === 'register' ? 'The tag' : 'The request'), el('pre', { tabindex: 0, dir: 'auto' }, seen.message)],
        seen.patch && [el('h3', null, 'The change'), patch(seen.patch)],
      ], el('button', { type: 'button', onclick: first }, 'Back'), go);
      say(seen.ok ? 'This is what would happen. Confirm?' : 'It would be refused');
    }

    async function run(said, seen) {
      show(el('p', { class: 'note', role: 'status' }, 'Working …'));
      try {
        const done = await ask('do', { order: said, seal: seen.seal });
        const request = done.request && done.request.startsWith('https://') ? done.request : null;
        show([el('p', { role: 'status' }, 'Done.'), el('ul', { class: 'list' }, done.done.map((line) => el('li', null, bdi(line)))),
          done.behind && el('p', { class: 'note' }, done.behind),
          request && el('p', null, el('a', { href: request, rel: 'noopener noreferrer', target: '_blank' }, done.opened ? 'The pull request' : 'Open the pull request'))]);
        dialog.addEventListener('close', () => location.reload());
      } catch (error) {
        show(trouble(error), el('button', { type: 'button', onclick: first }, 'Back'));
      }
    }
  }

  function patch(text) {
    const lines = text.split('\n').map((line) => {
      const kind = /^\+(?!\+\+)/.test(line) ? 'added' : /^-(?!--)/.test(line) ? 'removed' : null;
      return kind ? el('span', { class: kind }, `${line}\n`) : `${line}\n`;
    });
    return el('pre', { tabindex: 0, 'aria-label': 'The change' }, lines);
  }

  // Where they are offered --------------------------------------------------------------------------

  function button(text, order, main) {
    return el('button', { type: 'button', class: main ? 'main' : '', onclick: () => open(order) }, text);
  }

  function drafts() {
    const place = document.getElementById('drafts');
    if (!place || !offers.drafts.length) return;
    place.hidden = false;
    place.querySelector('ul').replaceChildren(...offers.drafts.map((one) => el('li', null,
      el('span', null, el('strong', null, bdi(one.model)), ` ${one.version} `, el('span', { class: 'note' }, one.new ? 'a new model' : '', one.dirty.length > 0 && [one.new ? '; ' : '', 'not committed yet: ', bdi(one.dirty.join(', '))])),
      button('Register', { deed: 'register', model: one.model, version: one.version }))));
  }

  function ofVersion(model, version) {
    const place = document.getElementById('actions');
    if (!place || version.gone) return;
    place.prepend(button('Promote', { deed: 'promote', model: model.name, version: version.version, among: offers.stages.filter((stage) => !version.stages.includes(stage)) }, true));
    for (const stage of version.stages) {
      place.append(button(`Roll back ${stage}`, { deed: 'rollback', model: model.name, stage, among: [stage] }));
      place.append(button(`Take out of ${stage}`, { deed: 'demote', model: model.name, stage, among: [stage] }));
    }
  }

  function ofModel() {
    const place = document.getElementById('actions');
    const [model] = gitregSite.models.values();
    if (!place || place.dataset.version || !model || !model.latest) return;
    place.append(button(`Promote ${model.latest}`, { deed: 'promote', model: model.name, version: model.latest }, true));
    for (const draft of offers.drafts.filter((one) => one.model === model.name)) {
      place.append(button(`Register ${draft.version}`, { deed: 'register', model: model.name, version: draft.version }));
    }
  }

  let waiting = [];
  document.addEventListener('gitreg-version', (event) => { if (offers) ofVersion(...event.detail); else waiting = event.detail; });
  window.addEventListener('load', async () => {
    if (!token) return;
    try {
      offers = await ask('offers');
    } catch (error) { return; } // it only shows
    drafts();
    ofModel();
    if (waiting.length) ofVersion(...waiting);
  });
})();
