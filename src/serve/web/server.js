// SPDX-License-Identifier: Apache-2.0
// The requests of the page: the key, errors as one type, server-sent events, and one streamed chat completion.

class ServerError extends Error {
  constructor(message, status = 0, code = '', retryAfter = 0) {
    super(message);
    Object.assign(this, {status, code, retryAfter});
  }
}

class Server {
  // askKey() resolves to a key or ''.
  constructor(askKey) {
    this.askKey = askKey;
    this.asking = null; // requests that are refused at the same time ask once
  }

  async fetch(path, {body, signal} = {}) {
    for (let attempt = 0; ; attempt++) {
      const headers = {}, key = sessionStorage.getItem('planish.key');
      if (body !== undefined) headers['content-type'] = 'application/json';
      if (key) headers.authorization = `Bearer ${key}`;
      let response;
      try {
        response = await fetch(path, {method: body === undefined ? 'GET' : 'POST', headers, signal, cache: 'no-store',
          body: body === undefined ? undefined : JSON.stringify(body)});
      } catch (error) {
        if (error.name === 'AbortError') throw error;
        throw new ServerError('The server cannot be reached.');
      }
      if (response.ok) return response;
      if (response.status === 401 && attempt < 3 && await this.newKey(key)) continue;
      throw await errorOf(response);
    }
  }

  async newKey(refused) {
    if (sessionStorage.getItem('planish.key') !== refused) return true; // another request has asked meanwhile
    this.asking ??= this.askKey().finally(() => { this.asking = null; });
    const key = await this.asking;
    if (key) sessionStorage.setItem('planish.key', key);
    return Boolean(key);
  }

  async json(path, options) { return (await this.fetch(path, options)).json(); }

  // The parsed data of each event up to [DONE].
  async* events(path, options) {
    const response = await this.fetch(path, options);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    try {
      for (let rest = ''; ;) {
        const {value, done} = await reader.read().catch((error) => {
          throw error.name === 'AbortError' ? error : new ServerError('The connection was lost.');
        });
        if (done) throw new ServerError('The answer broke off.');
        const lines = (rest + value).split('\n');
        rest = lines.pop();
        for (const line of lines) {
          if (!line.startsWith('data:')) continue;
          const data = line.slice(5).trim();
          if (data === '[DONE]') return;
          const event = JSON.parse(data);
          if (event.error) throw new ServerError(event.error.message ?? 'The server reports an error.', 0, event.error.code ?? '');
          yield event;
        }
      }
    } finally {
      reader.cancel().catch(() => {});
    }
  }
}

async function errorOf(response) {
  let message = `The server answers ${response.status}.`, code = '';
  try {
    const {error} = await response.json();
    message = asText(error.message) || message;
    code = asText(error.code);
  } catch { /* not ours: a proxy's page */ }
  return new ServerError(message, response.status, code, Number(response.headers.get('retry-after')) || 0);
}

// Puts one streamed completion into `round`; onChange(id) is called after every event. Throws ServerError or AbortError.
async function streamRound(server, request, round, signal, onChange) {
  const begin = performance.now();
  let firstMs = 0, thinkingSince = 0, pieces = 0, usage = null, extra = null;
  for await (const event of server.events('/v1/chat/completions', {body: request, signal})) {
    const now = performance.now(), choice = event.choices?.[0], delta = choice?.delta ?? {};
    if (event.planish) extra = {...extra, ...event.planish};
    if (event.usage) usage = event.usage;
    round.progress = event.planish?.progress ?? (choice ? round.progress : null);
    const reasoning = delta.reasoning_content ?? delta.reasoning;
    if (reasoning || delta.content || delta.tool_calls) {
      firstMs ||= now - begin;
      round.progress = null;
    }
    if (reasoning) {
      thinkingSince ||= now;
      round.reasoning += reasoning;
      round.used = Math.max(++pieces, event.planish?.thinking?.used ?? 0);
      round.limit = event.planish?.thinking?.budget ?? round.limit;
      round.thinkingMs = now - thinkingSince;
    }
    if (delta.content) round.content += delta.content;
    for (const part of delta.tool_calls ?? []) {
      const call = (round.calls[part.index] ??= {id: '', name: '', arguments: '', result: ''});
      call.id = part.id ?? call.id;
      call.name = part.function?.name ?? call.name;
      call.arguments += part.function?.arguments ?? '';
    }
    if (choice?.finish_reason) round.finish = choice.finish_reason;
    onChange(event.id);
  }
  delete round.progress;
  round.used = usage?.completion_tokens_details?.reasoning_tokens ?? round.used;
  round.stoppedBy = extra?.thinking?.stopped_by ?? '';
  const timings = extra?.timings ?? {};
  round.stats = {
    prompt: usage?.prompt_tokens ?? 0,
    cached: usage?.prompt_tokens_details?.cached_tokens ?? 0,
    reasoning: round.used,
    completion: usage?.completion_tokens ?? 0,
    firstMs: timings.first_token_ms ?? firstMs,
    decodeMs: timings.decode_ms ?? performance.now() - begin - firstMs,
  };
}
