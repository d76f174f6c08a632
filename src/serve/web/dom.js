// SPDX-License-Identifier: Apache-2.0
// The files of this folder in the order that cmake/embed.cmake is given make up /app.js, one module. This one: nodes are
// made here and nowhere from text, so nothing that a model or a file says is ever read as HTML.

const byId = (id) => document.getElementById(id);

// el('button', {class: 'ghost', onclick: f, hidden: true}, 'text', node): a `null` child is left out.
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

function iconButton(name, label, onclick) {
  return el('button', {type: 'button', class: 'ghost', 'aria-label': label, title: label, onclick},
    icon(name));
}

const count = (n) => Number(n).toLocaleString('en');
const seconds = (ms) => (ms < 9950 ? (ms / 1000).toFixed(ms < 995 ? 2 : 1) : Math.round(ms / 1000)) + ' s';

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // pages over plain HTTP from another machine have no clipboard interface
    const area = el('textarea', {class: 'unseen'});
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
}

function copyButton(text, label = 'Copy') {
  const button = iconButton('copy', label, async () => {
    await copyText(text());
    button.classList.add('done');
    button.title = 'Copied';
    speak('Copied');
    setTimeout(() => { button.classList.remove('done'); button.title = label; }, 1500);
  });
  return button;
}

// Says text to screen readers.
function speak(text) {
  const region = byId('spoken');
  region.append(el('p', {}, text));
  while (region.childElementCount > 20) region.firstElementChild.remove();
}

// Speaks a growing text by whole sentences.
class SentenceSpeaker {
  constructor() { this.said = 0; }

  update(text, isComplete = false) {
    const rest = text.slice(this.said);
    let end = isComplete ? rest.length : 0;
    if (!isComplete) {
      for (const match of rest.matchAll(/(?<=\p{L}[)\]"'*]*)[.!?](?=\s)|\n/gu)) end = match.index + 1;
    }
    const sentence = rest.slice(0, end).replace(/\]\(\S*\)|^[-|: ]+$|[*_`#|[]+/gm, '').replace(/\s+/g, ' ').trim();
    this.said += end;
    if (sentence) speak(sentence);
  }
}

// Opens a <dialog> and resolves to the value of the button that closed it ('' for Esc).
function askDialog(id) {
  const dialog = byId(id);
  return new Promise((resolve) => {
    dialog.returnValue = '';
    dialog.addEventListener('close', () => resolve(dialog.returnValue), {once: true});
    dialog.showModal();
  });
}
