// SPDX-License-Identifier: Apache-2.0
// Markdown to nodes: headings, paragraphs, lists, tables, quotes, code with a copy button, rules; links to http, https and
// mailto only. Text is split into blocks; while an answer grows, blocks that did not change keep their nodes.

const kMaxDepth = 6; // of lists and quotes in each other, and of emphasis

const kFence = /^ {0,3}(`{3,}|~{3,})([^`]*)$/;
const kHeading = /^ {0,3}(#{1,6})\s+(.*)$/;
const kRule = /^ {0,3}(?:(?:- *){3,}|(?:\* *){3,}|(?:_ *){3,})$/;
const kItem = /^( *)([-*+]|\d{1,9}[.)])( +)(.*)$/;
const kDelimiterRow = /^ *\|?(?: *:?-+:? *\|)* *:?-+:? *\|?$/;

const indentOf = (line) => line.length - line.trimStart().length;

function startsBlock(line) {
  return kFence.test(line) || kHeading.test(line) || /^ {0,3}>/.test(line) || kItem.test(line) || kRule.test(line);
}

// [{kind, raw, ...}]; `raw` holds everything that the block's nodes depend on.
function parseBlocks(lines, depth = 0) {
  const blocks = [];
  for (let i = 0; i < lines.length;) {
    const begin = i, line = lines[i];
    let match, block;
    if (!line.trim()) {
      i++;
      continue;
    } else if ((match = kFence.exec(line))) {
      const fence = match[1], body = [];
      const closes = (text) => text.trim().startsWith(fence) && !text.trim().replaceAll(fence[0], '');
      for (i++; i < lines.length && !closes(lines[i]); i++) body.push(lines[i].slice(Math.min(indentOf(lines[i]), indentOf(line))));
      i++;
      block = {kind: 'code', language: match[2].trim().split(/\s/)[0], text: body.join('\n')};
    } else if ((match = kHeading.exec(line))) {
      i++;
      block = {kind: 'heading', level: match[1].length, text: match[2].replace(/\s#+\s*$/, '')};
    } else if (kRule.test(line)) {
      i++;
      block = {kind: 'rule'};
    } else if (/^ {0,3}>/.test(line) && depth < kMaxDepth) {
      while (i < lines.length && /^ {0,3}>/.test(lines[i])) i++;
      block = {kind: 'quote', blocks: parseBlocks(lines.slice(begin, i).map((l) => l.replace(/^ {0,3}> ?/, '')), depth + 1)};
    } else if (kItem.test(line) && depth < kMaxDepth) {
      block = {kind: 'list'};
      i = parseList(lines, i, depth, block);
    } else if (line.includes('|') && lines[i + 1]?.includes('-') && lines[i + 1].includes('|') && kDelimiterRow.test(lines[i + 1])) {
      for (i += 2; i < lines.length && lines[i].includes('|'); i++);
      block = {kind: 'table', header: cellsOf(line), align: cellsOf(lines[begin + 1]).map(alignOf),
        rows: lines.slice(begin + 2, i).map(cellsOf)};
    } else {
      for (i++; i < lines.length && lines[i].trim() && !startsBlock(lines[i]); i++);
      block = {kind: 'paragraph', text: lines.slice(begin, i).map((l) => l.trimStart()).join('\n').trimEnd()};
    }
    block.raw = block.kind + '\n' + lines.slice(begin, i).join('\n');
    blocks.push(block);
  }
  return blocks;
}

// Items may be indented by less than their marker's width, as models often write them.
function parseList(lines, i, depth, block) {
  const first = kItem.exec(lines[i]), base = first[1].length;
  block.ordered = /\d/.test(first[2]);
  block.start = block.ordered ? parseInt(first[2], 10) : 1;
  block.items = [];
  while (i < lines.length) {
    const match = kItem.exec(lines[i]);
    if (!match || match[1].length > base + 1 || match[1].length < base || /\d/.test(match[2]) !== block.ordered || kRule.test(lines[i])) break;
    const inner = match[1].length + match[2].length + 1, body = [match[4]];
    for (i++; i < lines.length; i++) {
      const line = lines[i], indent = indentOf(line);
      if (!line.trim()) {
        let next = i + 1;
        while (next < lines.length && !lines[next].trim()) next++;
        if (next === lines.length || indentOf(lines[next]) < base + 2) break;
        body.push('');
      } else if (indent >= base + 2) {
        body.push(line.slice(Math.min(indent, inner)));
      } else if (startsBlock(line)) {
        break;
      } else {
        body.push(line.trimStart());
      }
    }
    block.items.push(parseBlocks(body, depth + 1));
    let next = i;
    while (next < lines.length && !lines[next].trim()) next++;
    if (next < lines.length && kItem.test(lines[next]) && indentOf(lines[next]) >= base) i = next;
  }
  return i;
}

function cellsOf(line) {
  return line.trim().replace(/^\||\|$/g, '').split('|').map((cell) => cell.trim());
}

function alignOf(cell) {
  if (!cell.endsWith(':')) return '';
  return cell.startsWith(':') ? 'centre' : 'right';
}

function blockNode(block) {
  switch (block.kind) {
    case 'code': return codeNode(block);
    case 'heading': return inlineInto(el(`h${Math.min(block.level + 2, 6)}`), block.text);
    case 'rule': return el('hr');
    case 'quote': return el('blockquote', {}, ...block.blocks.map(blockNode));
    case 'list': {
      const items = block.items.map((blocks) => {
        const item = el('li');
        for (const inner of blocks) {
          if (inner.kind === 'paragraph' && inner === blocks[0]) inlineInto(item, inner.text);
          else item.append(blockNode(inner));
        }
        return item;
      });
      return el(block.ordered ? 'ol' : 'ul', block.start !== 1 ? {start: String(block.start)} : {}, ...items);
    }
    case 'table': {
      const row = (cells, tag) => el('tr', {}, ...block.header.map((_, i) =>
        inlineInto(el(tag, block.align[i] ? {class: block.align[i]} : {}), cells[i] ?? '')));
      return el('div', {class: 'table', tabindex: '0', role: 'region', 'aria-label': 'Table'}, el('table', {},
        el('thead', {}, row(block.header, 'th')), el('tbody', {}, ...block.rows.map((cells) => row(cells, 'td')))));
    }
    default: return inlineInto(el('p'), block.text);
  }
}

function codeNode(block) {
  const code = el('code', {}, block.text);
  return el('div', {class: 'code'},
    el('div', {class: 'code-head'}, el('span', {}, block.language), copyButton(() => code.textContent, 'Copy code')),
    el('pre', {tabindex: '0'}, code));
}

const kMarks = [['**', 'strong'], ['__', 'strong'], ['~~', 'del'], ['*', 'em'], ['_', 'em']];
const kSearch = 4000; // characters within which a mark must end: bounds the work on hostile text

// Where the span that opens with `mark` at `at` ends; -1 if it does not.
function closingMark(text, at, mark) {
  const begin = at + mark.length, word = /[\p{L}\p{N}]/u;
  if (!text[begin] || /\s/.test(text[begin])) return -1;
  if (mark[0] === '_' && at > 0 && word.test(text[at - 1])) return -1;
  const window = text.slice(0, begin + kSearch);
  for (let end = window.indexOf(mark, begin + 1); end !== -1; end = window.indexOf(mark, end + 1)) {
    if (/\s/.test(text[end - 1])) continue;
    if (mark === '*' && (text[end + 1] === '*' || text[end - 1] === '*')) continue;
    if (mark[0] === '_' && word.test(text[end + mark.length] ?? '')) continue;
    return end;
  }
  return -1;
}

function inlineInto(parent, text, depth = 0) {
  let plain = '';
  const flush = () => {
    if (plain) parent.append(plain);
    plain = '';
  };
  for (let i = 0; i < text.length;) {
    const span = depth <= kMaxDepth ? spanAt(text, i, depth) : null;
    if (!span) {
      plain += text[i++];
      continue;
    }
    flush();
    parent.append(span.node);
    i = span.end;
  }
  flush();
  return parent;
}

// The node that begins at `i` and where it ends, or null for a plain character.
function spanAt(text, i, depth) {
  const c = text[i];
  if (c === '\n') return {node: el('br'), end: i + 1};
  if (c === '\\' && /[!-/:-@[-`{-~]/.test(text[i + 1] ?? '')) return {node: document.createTextNode(text[i + 1]), end: i + 2};
  if (c === '`') {
    const ticks = /^`+/.exec(text.slice(i, i + 20))[0];
    const end = text.slice(0, i + kSearch).indexOf(ticks, i + ticks.length);
    if (end < 0) return {node: document.createTextNode(ticks), end: i + ticks.length};
    return {node: el('code', {}, text.slice(i + ticks.length, end).replace(/^ (.*) $/s, '$1')), end: end + ticks.length};
  }
  if (c === '[') {
    const match = /^\[([^\]\n]{1,500})\]\((https?:\/\/[^\s)]{1,2000}|mailto:[^\s)]{1,500})(?: "[^"]*")?\)/.exec(text.slice(i, i + 3000));
    return match && {node: linkNode(match[2], match[1], depth), end: i + match[0].length};
  }
  if (c === 'h' && (i === 0 || /[\s(<"]/.test(text[i - 1]))) {
    const match = /^https?:\/\/[^\s<>"]{1,2000}/.exec(text.slice(i, i + 2010));
    const url = match?.[0].replace(/[.,:;!?)*_]+$/, '');
    return match && {node: linkNode(url, null, depth), end: i + url.length};
  }
  for (const [mark, tag] of kMarks) {
    if (!text.startsWith(mark, i)) continue;
    const end = closingMark(text, i, mark);
    if (end < 0) return mark.length === 2 ? {node: document.createTextNode(mark), end: i + 2} : null;
    return {node: inlineInto(el(tag), text.slice(i + mark.length, end), depth + 1), end: end + mark.length};
  }
  return null;
}

function linkNode(url, label, depth) {
  const link = el('a', {href: url, target: '_blank', rel: 'noopener noreferrer'});
  return label === null ? (link.append(url), link) : inlineInto(link, label, depth + 1);
}

// Shows a text that may grow.
class MarkdownView {
  constructor() {
    this.node = el('div', {class: 'markdown'});
    this.blocks = [];
  }

  update(text) {
    const blocks = parseBlocks(text.split('\n'));
    blocks.forEach((block, i) => {
      const old = this.blocks[i], node = this.node.childNodes[i];
      if (old?.raw === block.raw) return;
      if (old?.kind === 'code' && block.kind === 'code' && old.language === block.language)
        node.querySelector('code').textContent = block.text;
      else if (node) node.replaceWith(blockNode(block));
      else this.node.append(blockNode(block));
    });
    while (this.node.childNodes.length > blocks.length) this.node.lastChild.remove();
    this.blocks = blocks;
  }
}
