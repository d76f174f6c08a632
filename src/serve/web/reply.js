// SPDX-License-Identifier: Apache-2.0
// One reply on the screen: reasoning with its live bar, the answer, tool calls with their results, errors, statistics.

// Sizes of the slider; the last has no limit (-1).
const kBudgets = [0, 64, 256, 1024, 2048, 4096, 8192, 16384, -1];
const budgetName = (tokens) => (tokens === 0 ? 'off' : tokens < 0 ? 'no limit' : count(tokens));

const kStoppedBy = {budget: 'ended by its budget', grace: 'ended by its budget', reserve: 'ended to leave room for the answer',
  control: 'ended on request', tool: 'ended by a tool call', length: 'cut off'};

let reasoningIsShown = null; // what Alt+R said last: true, false, or null: each block decides

// The <details> of a round's reasoning.
class ReasoningView {
  constructor(onAnswerNow) {
    this.label = el('span', {class: 'label'});
    this.bar = el('progress', {max: '1', value: '0', 'aria-label': 'Share of the thinking budget'});
    this.text = el('div', {class: 'reasoning-text', tabindex: '0'});
    this.details = el('details', {class: 'reasoning'}, el('summary', {}, this.label, this.bar), this.text);
    this.now = el('button', {type: 'button', class: 'answer-now', onclick: () => { this.now.disabled = true; onAnswerNow(); }}, 'Answer now');
    this.node = el('div', {class: 'thinking'}, this.details, this.now);
    this.details.querySelector('summary').addEventListener('click', () => { this.wasToggled = true; });
    this.shown = 0;
  }

  update(round, isThinking) {
    const limit = round.limit ?? -1;
    this.node.classList.toggle('live', isThinking);
    this.now.hidden = !isThinking;
    this.bar.hidden = !isThinking || limit <= 0;
    if (limit > 0) {
      this.bar.max = limit;
      this.bar.value = Math.min(round.used, limit);
    }
    const why = kStoppedBy[round.stoppedBy];
    this.label.textContent = isThinking
      ? `thinking ${count(round.used)}${limit > 0 ? ` / ${count(limit)}` : ''}`
      : `thought for ${count(round.used)} tokens${round.thinkingMs ? `, ${seconds(round.thinkingMs)}` : ''}${why ? `, ${why}` : ''}`;
    if (round.reasoning.length > this.shown) { // it only grows
      const follows = this.text.scrollHeight - this.text.scrollTop - this.text.clientHeight < 24;
      this.text.append(this.shown ? round.reasoning.slice(this.shown) : round.reasoning.trimStart());
      this.shown = round.reasoning.length;
      if (isThinking && follows) this.text.scrollTop = this.text.scrollHeight;
    }
    if (!this.wasToggled) this.details.open = reasoningIsShown ?? isThinking;
  }
}

// A call of a tool and what came back.
function callNode(call) {
  const node = el('div', {class: 'call'}, el('div', {class: 'call-head'}, icon('tool'), el('code', {}, `${call.name}(${shortArguments(call)})`)));
  if (call.name === 'name_a_color' && call.result) {
    const colors = colorsIn(call);
    if (colors.length) node.append(el('div', {class: 'swatches'}, ...colors.map(swatch)));
  }
  if (call.result) {
    node.append(el('details', {}, el('summary', {}, 'result'), el('pre', {tabindex: '0'}, prettyJson(call.result))));
  } else {
    node.append(el('span', {class: 'hint'}, 'running'));
  }
  return node;
}

function parsedJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function prettyJson(text) {
  const value = parsedJson(text);
  return value === null ? text : JSON.stringify(value, null, 2);
}

function shortArguments(call) {
  const value = parsedJson(call.arguments);
  if (!value || typeof value !== 'object') return call.arguments;
  return Object.entries(value).map(([name, given]) => `${name}: ${JSON.stringify(given)}`).join(', ');
}

const kHexColor = /^#(?:[0-9a-f]{3}|[0-9a-f]{6})$/i;

// [[hex, name]]: the colour that was asked for, then the named ones that are nearest.
function colorsIn(call) {
  const asked = asText(parsedJson(call.arguments)?.color_hex).trim();
  const nearest = asList(parsedJson(call.result)?.nearest).slice(0, 3).map((color) => [asText(color?.hex), asText(color?.name)]);
  return [[asked, asked], ...nearest].filter(([hex]) => kHexColor.test(hex));
}

function swatch([hex, name]) {
  const chip = el('span', {class: 'chip', role: 'img', 'aria-label': `colour ${name}, ${hex}`});
  chip.style.backgroundColor = hex; // set through the object model: the policy allows no style attributes
  return el('span', {class: 'swatch'}, chip, el('span', {}, name));
}

// Sums over the rounds of a tool loop; the prompt is that of the last.
function statsText(reply) {
  const all = reply.rounds.map((round) => round.stats).filter(Boolean);
  if (!all.length) return '';
  const sum = (name) => all.reduce((total, stats) => total + stats[name], 0);
  const last = all.at(-1), reasoning = sum('reasoning'), completion = sum('completion'), decodeMs = sum('decodeMs');
  const parts = [`${count(last.prompt)} in${last.cached ? ` (${count(last.cached)} cached)` : ''}`];
  if (reasoning) parts.push(`${count(reasoning)} thinking`);
  parts.push(`${count(Math.max(0, completion - reasoning))} answer`);
  if (completion > all.length && decodeMs > 0) parts.push(`${((completion - all.length) / decodeMs * 1000).toFixed(1)} tok/s`);
  parts.push(`first token ${seconds(all[0].firstMs)}`);
  if (reply.rounds.at(-1).finish === 'length') parts.push('cut off by its length');
  return parts.join(' · ');
}

const answerText = (reply) => reply.rounds.map((round) => round.content.trim()).filter(Boolean).join('\n\n');

// actions: {answerNow, again, compare, choose, drop} (functions).
class ReplyView {
  constructor(reply, actions) {
    this.reply = reply;
    this.rounds = [];
    this.body = el('div', {class: 'rounds'});
    this.waiting = el('div', {class: 'waiting'}, el('span', {class: 'label'}), el('progress', {'aria-label': 'Prompt read'}));
    this.error = el('div', {class: 'error', role: 'alert'}, el('span'), el('button', {type: 'button', class: 'plain', onclick: actions.again}, 'Try again'));
    this.stats = el('span', {class: 'stats'});
    this.buttons = el('span', {class: 'buttons'}, copyButton(() => answerText(reply), 'Copy the answer'),
      iconButton('again', 'Answer again', actions.again), iconButton('compare', 'Answer again beside this one', actions.compare));
    this.choice = el('input', {type: 'radio', name: `chosen-${newId()}`, 'aria-label': 'Go on from this answer', onchange: actions.choose});
    this.head = el('div', {class: 'reply-head', hidden: true}, el('label', {title: 'Go on from this answer'}, this.choice, el('span')),
      iconButton('close', 'Remove this answer', actions.drop));
    this.foot = el('div', {class: 'reply-foot'}, this.stats, this.buttons);
    this.node = el('article', {class: 'reply', 'aria-label': 'Answer'}, this.head, this.body, this.waiting, this.error, this.foot);
    this.actions = actions;
    this.speaker = reply.state === 'running' ? new SentenceSpeaker() : null;
  }

  // isCompared: it stands beside others.
  update({isChosen = true, isCompared = false, isLast = true} = {}) {
    const {reply} = this, isRunning = reply.state === 'running', last = reply.rounds.at(-1);
    this.head.hidden = !isCompared;
    this.head.querySelector('label span').textContent = reply.thinking === null ? 'answer'
      : reply.thinking ? `thinking ${budgetName(reply.budget)}` : 'thinking off';
    this.choice.checked = isChosen;
    this.node.classList.toggle('chosen', isCompared && isChosen);
    this.node.setAttribute('aria-busy', String(isRunning));
    reply.rounds.forEach((round, i) => this.updateRound(round, i, isRunning && round === last));
    const isSilent = isRunning && (!last || !(last.reasoning || last.content || last.calls.length));
    this.waiting.hidden = !isSilent;
    if (isSilent) this.updateProgress(last?.progress);
    this.error.hidden = reply.state !== 'failed';
    this.error.firstChild.textContent = reply.error;
    this.foot.hidden = isRunning || (reply.state === 'failed' && !answerText(reply));
    const note = reply.state === 'stopped' ? 'stopped' : reply.state === 'cut' ? 'cut off when the page was left' : '';
    this.stats.textContent = [statsText(reply), note].filter(Boolean).join(' · ');
    this.buttons.querySelector('[aria-label="Answer again"]').hidden = !isLast;
    if (!this.speaker) return;
    this.speaker.update(answerText(reply), !isRunning);
    if (!isRunning) this.speaker = null;
  }

  updateRound(round, i, isRunning) {
    let view = this.rounds[i];
    if (!view) {
      view = {reasoning: new ReasoningView(this.actions.answerNow), content: new MarkdownView(), calls: el('div', {class: 'calls'}), drawn: ''};
      this.rounds[i] = view;
      this.body.append(view.reasoning.node, view.content.node, view.calls);
    }
    const hasReasoning = round.reasoning.trim() !== '';
    view.reasoning.node.hidden = !hasReasoning;
    if (hasReasoning) view.reasoning.update(round, isRunning && !round.content && !round.calls.length);
    if (view.text !== round.content) view.content.update(round.content.trim());
    view.text = round.content;
    view.content.node.classList.toggle('growing', isRunning && Boolean(round.content) && !round.calls.length);
    const calls = JSON.stringify(round.calls);
    if (view.drawn !== calls) view.calls.replaceChildren(...round.calls.filter((call) => call?.name).map(callNode));
    view.drawn = calls;
  }

  updateProgress(progress) {
    const [label, bar] = this.waiting.children;
    bar.hidden = !progress?.total;
    if (!progress?.total) {
      label.textContent = this.reply.rounds.length > 1 ? 'reading the result' : 'waiting for the model';
      return;
    }
    bar.max = progress.total;
    bar.value = progress.done;
    label.textContent = `reading ${count(progress.done)} / ${count(progress.total)} tokens${progress.cached ? ` (${count(progress.cached)} cached)` : ''}`;
  }
}
