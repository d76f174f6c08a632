// SPDX-License-Identifier: Apache-2.0
// Conversations in localStorage, one key each, so that tabs do not overwrite each other's. A conversation is
//   {id, title, updated, system, turns: [{user, chosen, replies: [reply]}]}
// a reply, with the settings it was made with and what came of it,
//   {thinking: bool|null, budget: tokens or -1, state: 'running'|'done'|'stopped'|'failed'|'cut', error, rounds: [round]}
// and a round, one request of a tool loop,
//   {reasoning, content, used, limit, stoppedBy, thinkingMs, finish, calls: [{id, name, arguments, result}], stats}.
// `chosen` is the reply that later turns follow.

const kConversationKey = 'planish.conversation.';

const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(9)), (b) => b.toString(36).padStart(2, '0')).join('');
const newConversation = () => ({id: newId(), title: '', updated: Date.now(), system: '', turns: []});
const newReply = (thinking, budget) => ({thinking, budget, state: 'running', error: '', rounds: []});
const newRound = () => ({reasoning: '', content: '', used: 0, limit: null, stoppedBy: '', thinkingMs: 0, finish: '',
  calls: [], stats: null});

// Imported files are anybody's: only known fields of the right type are taken over. Throws on what is no conversation.
const asText = (value) => (typeof value === 'string' ? value : '');
const asNumber = (value, fallback = 0) => (Number.isFinite(value) ? value : fallback);
const asList = (value) => (Array.isArray(value) ? value : []);

function checkedRound(value) {
  const round = newRound();
  for (const name of ['reasoning', 'content', 'stoppedBy', 'finish']) round[name] = asText(value?.[name]);
  round.used = asNumber(value?.used);
  round.limit = asNumber(value?.limit, null);
  round.thinkingMs = asNumber(value?.thinkingMs);
  round.calls = asList(value?.calls).map((call) => ({id: asText(call?.id), name: asText(call?.name),
    arguments: asText(call?.arguments), result: asText(call?.result)}));
  if (value?.stats && typeof value.stats === 'object') {
    round.stats = {};
    for (const name of ['prompt', 'cached', 'reasoning', 'completion', 'firstMs', 'decodeMs']) round.stats[name] = asNumber(value.stats[name]);
  }
  return round;
}

function checkedReply(value) {
  const reply = newReply(typeof value?.thinking === 'boolean' ? value.thinking : null, asNumber(value?.budget, -1));
  reply.state = ['done', 'stopped', 'failed', 'cut'].includes(value?.state) ? value.state : 'cut';
  reply.error = asText(value?.error);
  reply.rounds = asList(value?.rounds).map(checkedRound);
  return reply;
}

function checkedConversation(value) {
  if (!value || typeof value !== 'object' || !Array.isArray(value.turns)) throw new Error('not a conversation of planish');
  const conversation = newConversation();
  if (/^[a-z0-9]{8,40}$/.test(asText(value.id))) conversation.id = value.id;
  conversation.title = asText(value.title).slice(0, 200);
  conversation.system = asText(value.system);
  conversation.updated = asNumber(value.updated, Date.now());
  conversation.turns = value.turns.map((turn) => {
    const replies = asList(turn?.replies).map(checkedReply);
    return {user: asText(turn?.user), replies, chosen: Math.min(Math.max(0, Math.trunc(asNumber(turn?.chosen))), Math.max(0, replies.length - 1))};
  });
  return conversation;
}

class History {
  // onFull is called when the browser has no room left.
  constructor(onFull) { this.onFull = onFull; }

  // [{id, title, updated}], latest first.
  list() {
    const found = [];
    for (let i = 0; i < localStorage.length; i++) {
      const key = localStorage.key(i);
      const conversation = key.startsWith(kConversationKey) ? this.load(key.slice(kConversationKey.length)) : null;
      if (conversation) found.push({id: conversation.id, title: conversation.title, updated: conversation.updated});
    }
    return found.sort((a, b) => b.updated - a.updated);
  }

  load(id) {
    try {
      return checkedConversation(JSON.parse(localStorage.getItem(kConversationKey + id)));
    } catch {
      return null;
    }
  }

  // Conversations without a message are not kept.
  save(conversation) {
    if (!conversation.turns.length) return;
    try {
      localStorage.setItem(kConversationKey + conversation.id, JSON.stringify(conversation));
    } catch {
      this.onFull();
    }
  }

  remove(id) { localStorage.removeItem(kConversationKey + id); }

  exportText() {
    const conversations = this.list().map((entry) => this.load(entry.id));
    return JSON.stringify({format: 'planish-conversations', version: 1, conversations}, null, 1);
  }

  // Adds what the file holds; a conversation that is here already is replaced. Returns how many.
  importText(text) {
    const file = JSON.parse(text);
    const conversations = asList(file?.conversations).map(checkedConversation);
    if (file?.format !== 'planish-conversations' || !conversations.length) throw new Error('not a file of conversations of planish');
    conversations.forEach((conversation) => this.save(conversation));
    return conversations.length;
  }
}
