// SPDX-License-Identifier: Apache-2.0
// The conversation in the middle: its turns on the screen, and the one reply that may be running, tool loop included.

const kMaxRounds = 8; // requests of one tool loop
const kMaxReplies = 4; // side by side

class Thread {
  // app: {server, history, model(), settings(), tools(), useTools(), changed(), notice(text)}.
  constructor(app) {
    this.app = app;
    this.node = byId('thread');
    this.conversation = newConversation();
    this.turns = []; // {turn, node, user, replies: [ReplyView], grid}
    this.run = null; // {conversation, reply, abort, id, saved}
    this.follows = true; // the view stays at the end
    this.node.addEventListener('scroll', () => this.onScroll());
    byId('to-end').addEventListener('click', () => { this.follows = true; this.toEnd(); });
  }

  show(conversation) {
    this.conversation = conversation;
    this.turns = [];
    this.node.replaceChildren();
    this.follows = true;
    for (const turn of conversation.turns) this.addTurnNode(turn);
    if (!conversation.turns.length) this.node.append(this.welcome());
    this.refresh();
  }

  welcome() {
    const model = this.app.model();
    const examples = [['A riddle', 'A farmer has 17 sheep. All but 9 run away. How many are left?'],
      ['Percentages', 'What is 15 % of 240? Show the steps.'],
      ...(this.app.tools().length
        ? [['A colour', 'Name the colour #b3602c.', true], ['The weather', 'What is the weather like in Lisbon?', true]]
        : [['A table', 'Compare Celsius and Fahrenheit in a small table.'], ['A plan', 'Plan a quiet Sunday in three lines.']])];
    return el('div', {class: 'welcome'},
      el('h2', {}, 'What shall we work out?'),
      el('p', {class: 'hint'}, model.facts),
      el('div', {class: 'examples'}, ...examples.map(([title, text, usesTools = false]) =>
        el('button', {type: 'button', class: 'example', onclick: () => { if (usesTools) this.app.useTools(); this.send(text); }},
          el('b', {}, title), el('span', {}, text)))));
  }

  addTurnNode(turn) {
    const entry = {turn, replies: [], user: el('div', {class: 'user-row'}), grid: el('div', {class: 'replies'})};
    entry.node = el('div', {class: 'turn'}, entry.user, entry.grid);
    this.turns.push(entry);
    this.drawUser(entry);
    turn.replies.forEach((reply) => this.addReplyView(entry, reply));
    this.node.append(entry.node);
    return entry;
  }

  drawUser(entry) {
    entry.user.replaceChildren(el('div', {class: 'user', 'aria-label': 'You'}, entry.turn.user),
      el('span', {class: 'buttons'}, copyButton(() => entry.turn.user, 'Copy the message'),
        iconButton('edit', 'Edit and send again', () => this.edit(entry))));
  }

  addReplyView(entry, reply) {
    const actions = {
      answerNow: () => this.answerNow(),
      again: () => this.again(entry, reply),
      compare: () => this.compare(entry),
      choose: () => { entry.turn.chosen = entry.turn.replies.indexOf(reply); this.save(); this.refresh(); },
      drop: () => this.drop(entry, reply),
    };
    const view = new ReplyView(reply, actions);
    entry.replies.push(view);
    entry.grid.append(view.node);
  }

  refresh() {
    this.turns.forEach((entry) => {
      const isCompared = entry.replies.length > 1;
      entry.node.classList.toggle('compared', isCompared);
      entry.replies.forEach((view, i) => view.update({isChosen: i === entry.turn.chosen, isCompared, isLast: entry === this.turns.at(-1)}));
    });
    byId('send').hidden = Boolean(this.run);
    byId('stop').hidden = !this.run;
    this.toEnd();
  }

  onScroll() {
    const {scrollHeight, scrollTop, clientHeight} = this.node;
    this.follows = scrollHeight - scrollTop - clientHeight < 60;
    byId('to-end').hidden = this.follows;
  }

  toEnd() {
    if (this.follows) this.node.scrollTop = this.node.scrollHeight;
    this.onScroll();
  }

  save() {
    this.conversation.updated = Date.now();
    this.app.history.save(this.conversation);
    this.app.changed();
  }

  send(text) {
    if (this.run || !text.trim()) return;
    const turn = {user: text.trim(), chosen: 0, replies: []};
    if (!this.conversation.turns.length) this.node.replaceChildren();
    this.conversation.turns.push(turn);
    this.conversation.title ||= turn.user.replace(/\s+/g, ' ').slice(0, 80);
    this.follows = true;
    this.start(this.addTurnNode(turn));
  }

  // The message becomes a text box; sending drops what came after it.
  edit(entry = this.turns.at(-1)) {
    if (this.run || !entry) return;
    const box = el('textarea', {'aria-label': 'Message'}), isLast = entry === this.turns.at(-1);
    box.value = entry.turn.user;
    const cancel = () => { this.drawUser(entry); byId('message').focus(); };
    const submit = () => {
      if (!box.value.trim() || this.run) return;
      const after = this.turns.splice(this.turns.indexOf(entry));
      after.forEach((dropped) => dropped.node.remove());
      this.conversation.turns.splice(this.conversation.turns.indexOf(entry.turn));
      this.send(box.value);
      byId('message').focus();
    };
    box.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
      if (event.key === 'Escape') { event.stopPropagation(); cancel(); }
    });
    entry.user.replaceChildren(el('div', {class: 'editing'}, box, el('div', {class: 'buttons'},
      isLast ? null : el('span', {class: 'hint'}, 'What follows is replaced.'),
      el('button', {type: 'button', class: 'plain', onclick: cancel}, 'Cancel'),
      el('button', {type: 'button', class: 'primary', onclick: submit}, 'Send'))));
    box.rows = Math.min(12, box.value.split('\n').length + 1);
    box.focus();
  }

  again(entry, reply) {
    if (this.run) return;
    const at = entry.turn.replies.indexOf(reply);
    entry.turn.replies.splice(at, 1);
    entry.replies.splice(at, 1)[0].node.remove();
    this.start(entry);
  }

  async compare(entry) {
    if (this.run) return;
    if (entry.turn.replies.length >= kMaxReplies) return this.app.notice(`At most ${kMaxReplies} answers stand side by side.`);
    const {thinking} = this.app.model();
    if (!thinking) return this.start(entry);
    const choices = kBudgets.map((tokens) => el('button', {value: String(tokens)}, budgetName(tokens)));
    byId('budget-choices').replaceChildren(...choices);
    const value = await askDialog('ask-budget');
    if (value !== '' && !this.run) this.start(entry, {thinking: value !== '0', budget: Number(value)});
  }

  drop(entry, reply) {
    if (this.run?.reply === reply) return;
    const {turn} = entry, at = turn.replies.indexOf(reply);
    turn.replies.splice(at, 1);
    entry.replies.splice(at, 1)[0].node.remove();
    turn.chosen = Math.max(0, Math.min(turn.chosen - (at < turn.chosen ? 1 : 0), turn.replies.length - 1));
    this.save();
    this.refresh();
  }

  // What the model is told before the answer to `turn`.
  messagesBefore(turn) {
    const {conversation} = this, messages = [];
    if (conversation.system.trim()) messages.push({role: 'system', content: conversation.system});
    for (const earlier of conversation.turns) {
      messages.push({role: 'user', content: earlier.user});
      if (earlier === turn) break;
      const reply = earlier.replies[earlier.chosen];
      reply?.rounds.forEach((round) => messages.push(...messagesOf(round)));
    }
    return messages;
  }

  async start(entry, override = {}) {
    const settings = {...this.app.settings(), ...override}, model = this.app.model();
    const reply = newReply(model.thinking ? settings.thinking : null, settings.thinking ? settings.budget : 0);
    entry.turn.replies.push(reply);
    entry.turn.chosen = entry.turn.replies.length - 1;
    this.addReplyView(entry, reply);
    const run = {conversation: this.conversation, reply, abort: new AbortController(), id: '', savedAt: 0, frame: 0};
    this.run = run;
    this.save();
    this.refresh();
    try {
      await this.rounds(run, this.messagesBefore(entry.turn), settings, model);
      reply.state = 'done';
    } catch (error) {
      reply.state = error.name === 'AbortError' ? 'stopped' : 'failed';
      if (reply.state === 'failed') reply.error = this.errorText(error);
    }
    cancelAnimationFrame(run.frame);
    this.run = null;
    run.conversation.updated = Date.now();
    this.app.history.save(run.conversation);
    this.app.changed();
    this.refresh();
  }

  async rounds(run, messages, settings, model) {
    const tools = settings.tools ? this.app.tools() : [];
    for (let n = 0; n < kMaxRounds; n++) {
      const round = newRound();
      round.limit = settings.thinking && settings.budget > 0 ? settings.budget : null;
      run.reply.rounds.push(round);
      const request = {model: model.id, messages, stream: true, stream_options: {include_usage: true, include_progress: true},
        ...settings.sampling, ...(tools.length ? {tools} : {})};
      if (model.thinking) {
        request.chat_template_kwargs = {enable_thinking: settings.thinking};
        if (settings.thinking) request.max_thinking_tokens = settings.budget;
      }
      await streamRound(this.app.server, request, round, run.abort.signal, (id) => { run.id = id; this.grew(run); });
      round.calls = round.calls.filter((call) => call?.name);
      this.grew(run);
      if (round.finish !== 'tool_calls' || !round.calls.length) return;
      await Promise.all(round.calls.map((call) => this.callTool(call, run)));
      messages = [...messages, ...messagesOf(round)];
    }
    throw new ServerError(`The model called tools ${kMaxRounds} times in a row; the loop ends here.`);
  }

  async callTool(call, run) {
    try {
      const response = await this.app.server.fetch(`/demo/tools/${encodeURIComponent(call.name)}`, {body: parsedJson(call.arguments) ?? {}, signal: run.abort.signal});
      call.result = await response.text();
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      call.result = JSON.stringify({error: error.message}); // the model may correct itself
    }
    this.grew(run);
  }

  // Draws at most once a frame and saves at most once a second.
  grew(run) {
    if (performance.now() - run.savedAt > 1000) {
      run.savedAt = performance.now();
      this.app.history.save(run.conversation);
    }
    run.frame ||= requestAnimationFrame(() => {
      run.frame = 0;
      if (this.run === run && run.conversation === this.conversation) this.refresh();
    });
  }

  stop() { this.run?.abort.abort(); }

  async answerNow() {
    try {
      await this.app.server.json('/v1/chat/completions/control', {body: {id: this.run?.id, action: 'end_thinking'}});
    } catch (error) {
      this.app.notice(this.errorText(error));
    }
  }

  errorText(error) {
    if (!(error instanceof ServerError)) return `The page failed: ${error.message}`;
    const text = error.message.replace(/^./u, (first) => first.toUpperCase()).replace(/(?<![.!?])$/, '.');
    return text + (error.retryAfter ? ` Try again in ${error.retryAfter} s.` : '');
  }
}

// A finished round as messages: earlier reasoning is not sent, templates drop it.
function messagesOf(round) {
  if (!round.calls.length) return round.content ? [{role: 'assistant', content: round.content}] : [];
  const calls = round.calls.map(({id, name, arguments: given}) => ({id, type: 'function', function: {name, arguments: given}}));
  return [{role: 'assistant', content: round.content || null, tool_calls: calls},
    ...round.calls.map(({id, result}) => ({role: 'tool', tool_call_id: id, content: result}))];
}
