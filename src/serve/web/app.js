// SPDX-License-Identifier: Apache-2.0
// The frame around the conversation: list, composer, settings, keys, and the start of the page.

const kSettingsKey = 'planish.settings';

class App {
  constructor() {
    this.saved = {thinking: null, budget: 2048, tools: false, temperature: '', topP: '', maxTokens: '', ...parsedJson(localStorage.getItem(kSettingsKey) ?? '')};
    this.info = {id: '', thinking: false, facts: ''};
    this.toolList = [];
    this.server = new Server(() => this.askKey());
    this.history = new History(() => this.notice('The browser has no room for more conversations: export and delete some.'));
    this.thread = new Thread({server: this.server, history: this.history, model: () => this.info, tools: () => this.toolList,
      settings: () => this.settings(), useTools: () => this.keep({tools: true}), changed: () => this.drawList(), notice: (text) => this.notice(text)});
    this.listen();
    this.thread.show(this.history.load(location.hash.slice(1)) ?? newConversation());
    this.drawList();
    this.drawControls();
    this.connect();
  }

  // ---- the server ----

  async connect() {
    try {
      await this.waitUntilLoaded();
      const {data: [model]} = await this.server.json('/v1/models');
      const meta = model.meta ?? {};
      this.info = {id: model.id, thinking: Boolean(meta.thinking?.supported), facts: factsOf(model)};
      this.saved.thinking ??= meta.thinking?.default_on ?? true;
      byId('model').textContent = model.id;
      this.toolList = asList(await this.server.json('/demo/tools').catch(() => []));
      this.notice('');
    } catch (error) {
      this.notice(error.message);
    }
    this.drawControls();
    if (!this.thread.conversation.turns.length) this.thread.show(this.thread.conversation);
  }

  async waitUntilLoaded() {
    for (;;) {
      const response = await fetch('/health', {cache: 'no-store'}).catch(() => null);
      if (response?.ok) return;
      const health = await response?.json().catch(() => null);
      const share = health?.progress > 0 ? `: ${Math.round(health.progress * 100)} %` : '';
      this.notice(!response ? 'The server cannot be reached.' : health?.error?.code === 'loading' ? `The model is being loaded${share}.` : health?.error?.message ?? 'The server is not ready.');
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }

  async askKey() {
    byId('key').value = '';
    return await askDialog('ask-key') === 'ok' ? byId('key').value.trim() : '';
  }

  notice(text) {
    byId('notice').textContent = text;
    byId('notice').hidden = !text;
  }

  // ---- settings ----

  settings() {
    const {saved} = this, sampling = {};
    if (saved.temperature !== '') sampling.temperature = Number(saved.temperature);
    if (saved.topP !== '') sampling.top_p = Number(saved.topP);
    if (saved.maxTokens !== '') sampling.max_completion_tokens = Number(saved.maxTokens);
    return {thinking: Boolean(saved.thinking), budget: saved.budget, tools: saved.tools, sampling};
  }

  keep(changes) {
    Object.assign(this.saved, changes);
    localStorage.setItem(kSettingsKey, JSON.stringify(this.saved));
    this.drawControls();
  }

  drawControls() {
    const {saved, info} = this, budget = saved.thinking ? saved.budget : 0;
    byId('thinking-switch').hidden = byId('budget-controls').hidden = !info.thinking;
    byId('tools-switch').hidden = !this.toolList.length;
    byId('thinking').checked = Boolean(saved.thinking);
    byId('tools').checked = saved.tools;
    const slider = byId('budget'), box = byId('budget-tokens');
    slider.value = budget < 0 ? kBudgets.length - 1 : kBudgets.findLastIndex((tokens) => tokens >= 0 && tokens <= budget);
    slider.setAttribute('aria-valuetext', budgetName(budget));
    slider.style.setProperty('--share', slider.value / slider.max);
    if (document.activeElement !== box) box.value = budget < 0 ? '' : budget;
  }

  // 0 switches thinking off; the last budget comes back with the switch.
  setBudget(tokens) { this.keep(tokens === 0 ? {thinking: false} : {thinking: true, budget: tokens}); }

  stepBudget(step) {
    const at = Math.min(kBudgets.length - 1, Math.max(0, Number(byId('budget').value) + step));
    this.setBudget(kBudgets[at]);
    speak(`Thinking budget ${budgetName(kBudgets[at])}`);
  }

  async openSettings() {
    const {saved} = this, {conversation} = this.thread;
    byId('system').value = conversation.system;
    byId('temperature').value = saved.temperature;
    byId('top-p').value = saved.topP;
    byId('max-tokens').value = saved.maxTokens;
    if (await askDialog('settings') !== 'ok') return;
    conversation.system = byId('system').value;
    this.keep({temperature: byId('temperature').value, topP: byId('top-p').value, maxTokens: byId('max-tokens').value});
    this.history.save(conversation);
  }

  // ---- the list of conversations ----

  drawList() {
    const {conversation} = this.thread;
    byId('title').textContent = conversation.title || 'New conversation';
    document.title = conversation.title ? `${conversation.title} – planish` : 'planish';
    if (conversation.turns.length) history.replaceState(null, '', `#${conversation.id}`);
    byId('conversations').replaceChildren(...this.history.list().map((entry) => el('li', {class: entry.id === conversation.id ? 'current' : null},
      el('button', {type: 'button', class: 'conversation', 'aria-current': entry.id === conversation.id ? 'true' : null, title: entry.title, onclick: () => this.open(entry.id)}, entry.title || 'Untitled'),
      iconButton('bin', 'Delete', () => this.remove(entry)))));
  }

  // A conversation that is being answered is the live one, not its copy in the store.
  open(id) {
    const {run} = this.thread;
    const conversation = run?.conversation.id === id ? run.conversation : this.history.load(id);
    if (!conversation) return;
    this.thread.show(conversation);
    this.drawList();
    this.closeSidebar();
  }

  startNew() {
    this.thread.show(newConversation());
    history.replaceState(null, '', location.pathname);
    this.drawList();
    this.closeSidebar();
    byId('message').focus();
  }

  async remove(entry) {
    byId('delete-name').textContent = entry.title;
    if (await askDialog('ask-delete') !== 'ok') return;
    if (this.thread.run?.conversation.id === entry.id) {
      this.thread.stop();
      this.thread.run.conversation.turns = []; // nothing is left to save
    }
    this.history.remove(entry.id);
    if (this.thread.conversation.id === entry.id) this.startNew();
    else this.drawList();
  }

  exportAll() {
    const url = URL.createObjectURL(new Blob([this.history.exportText()], {type: 'application/json'}));
    el('a', {href: url, download: 'planish-conversations.json'}).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  async importFile(file) {
    try {
      const n = this.history.importText(await file.text());
      this.notice(`${n} ${n === 1 ? 'conversation' : 'conversations'} imported.`);
    } catch (error) {
      this.notice(`${file.name} was not imported: ${error.message}.`);
    }
    this.drawList();
  }

  openSidebar() {
    document.body.classList.add('sidebar-open');
    byId('open-sidebar').setAttribute('aria-expanded', 'true');
    byId('close-sidebar').focus();
  }

  closeSidebar() {
    document.body.classList.remove('sidebar-open');
    byId('open-sidebar').setAttribute('aria-expanded', 'false');
  }

  // ---- events ----

  submit() {
    const box = byId('message');
    if (this.thread.run || !box.value.trim()) return;
    const text = box.value;
    box.value = '';
    this.fitMessage();
    this.thread.send(text);
  }

  fitMessage() {
    const box = byId('message');
    box.style.height = 'auto';
    box.style.height = `${Math.min(box.scrollHeight, innerHeight * 0.4)}px`;
  }

  listen() {
    const on = (id, event, handler) => byId(id).addEventListener(event, handler);
    on('composer', 'submit', (event) => { event.preventDefault(); this.submit(); });
    on('message', 'input', () => this.fitMessage());
    on('message', 'keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); this.submit(); }
      if (event.key === 'ArrowUp' && !event.altKey && !byId('message').value) { event.preventDefault(); this.thread.edit(); }
    });
    on('stop', 'click', () => this.thread.stop());
    on('thinking', 'change', (event) => this.keep({thinking: event.target.checked}));
    on('budget', 'input', (event) => this.setBudget(kBudgets[event.target.value]));
    on('budget-tokens', 'change', (event) => {
      const tokens = event.target.value === '' ? -1 : Math.max(0, Math.trunc(Number(event.target.value)));
      this.setBudget(tokens);
      event.target.value = tokens < 0 ? '' : tokens;
    });
    on('tools', 'change', (event) => this.keep({tools: event.target.checked}));
    on('new', 'click', () => this.startNew());
    on('export', 'click', () => this.exportAll());
    on('import', 'click', () => byId('import-file').click());
    on('import-file', 'change', (event) => {
      if (event.target.files[0]) this.importFile(event.target.files[0]);
      event.target.value = '';
    });
    on('open-settings', 'click', () => this.openSettings());
    on('open-keys', 'click', () => askDialog('keys'));
    on('open-sidebar', 'click', () => this.openSidebar());
    on('close-sidebar', 'click', () => { this.closeSidebar(); byId('open-sidebar').focus(); });
    on('shade', 'click', () => this.closeSidebar());
    addEventListener('keydown', (event) => this.onKey(event));
    addEventListener('storage', (event) => { if (event.key?.startsWith(kConversationKey)) this.drawList(); });
    addEventListener('hashchange', () => this.open(location.hash.slice(1)));
  }

  onKey(event) {
    if (document.querySelector('dialog[open]')) return;
    const isTyping = event.target.matches('input:not([type=checkbox], [type=range], [type=radio]), textarea') && event.target.value !== '';
    const isPlain = !event.altKey && !event.ctrlKey && !event.metaKey;
    let handled = true;
    if (event.key === 'Escape' && document.body.classList.contains('sidebar-open')) this.closeSidebar();
    else if (event.key === 'Escape') this.thread.stop();
    else if (event.altKey && event.code === 'KeyT' && this.info.thinking) this.keep({thinking: !this.saved.thinking});
    else if (event.altKey && event.code === 'KeyR') this.toggleReasoning();
    else if (event.altKey && event.key === 'ArrowUp' && this.info.thinking) this.stepBudget(1);
    else if (event.altKey && event.key === 'ArrowDown' && this.info.thinking) this.stepBudget(-1);
    else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') this.startNew();
    else if (event.key === '?' && isPlain && !isTyping && !event.target.matches('textarea')) askDialog('keys');
    else handled = false;
    if (handled) event.preventDefault();
  }

  toggleReasoning() {
    const blocks = [...document.querySelectorAll('details.reasoning')];
    reasoningIsShown = !(reasoningIsShown ?? blocks.some((block) => block.open));
    blocks.forEach((block) => { block.open = reasoningIsShown; });
    speak(reasoningIsShown ? 'Reasoning shown' : 'Reasoning hidden');
  }
}

// "2.1 G parameters, 131,072 tokens of context, 4 attention, 27 Mamba-2 and 25 FFN layers".
function factsOf(model) {
  const {n_params: params, layers = {}} = model.meta ?? {}, parts = [];
  if (params) parts.push(`${params < 1e9 ? (params / 1e6).toFixed(1) + ' million' : (params / 1e9).toFixed(1) + ' billion'} parameters`);
  if (model.max_model_len) parts.push(`${count(model.max_model_len)} tokens of context`);
  const kinds = [['mamba2', 'Mamba-2'], ['attention', 'attention'], ['ffn', 'FFN']].filter(([kind]) => layers[kind]).map(([kind, name]) => `${layers[kind]} ${name}`);
  if (kinds.length) parts.push(`${kinds.join(', ')} layers`);
  return parts.join(' · ');
}

new App();
