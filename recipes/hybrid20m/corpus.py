#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Text corpus of the recipe: English documentation out of Debian packages, about 40 MB, as JSON lines.

    python3 corpus.py CACHE OUT        writes OUT/train.jsonl and OUT/valid.jsonl

Packages are fetched with `apt-get download` (run `apt-get update` first) into CACHE and unpacked there, never installed;
what CACHE has already is not fetched again. Needs apt, dpkg-deb and Python's standard library. The same package versions
give the same bytes: documents are ordered by the SHA-256 of their names, which mixes the packages evenly, and those
whose hash falls into one of 64 parts are the validation set. One line is {"text": ..., "source": "PACKAGE/PATH"}.
"""
import collections
import hashlib
import html.parser
import json
import os
import re
import subprocess
import sys

# Package: what is read, as a regular expression on the path inside it (from the start).
PACKAGES = {
    'apache2-doc': r'usr/share/doc/apache2-doc/manual/en/.*\.html$',
    'aptitude-doc-en': r'usr/share/doc/aptitude/html/en/.*\.html$',
    'bash-doc': r'usr/share/doc/bash/bashref\.html$',
    'debian-faq': r'usr/share/doc/debian/FAQ/.*\.html$',
    'debian-handbook': r'usr/share/doc/debian-handbook/html/en-US/.*\.html$',
    'debian-policy': r'usr/share/doc/debian-policy/(policy\.html/[^_].*\.html|fhs/.*\.html)$',
    'debian-reference-en': r'usr/share/debian-reference/.*\.html$',
    'debmake-doc': r'usr/share/doc/debmake-doc/html/.*\.en\.html$',
    'developers-reference': r'usr/share/developers-reference/[^_/]*\.html$',
    'exim4-doc-html': r'usr/share/doc/exim4-doc-html/spec_html/.*\.html$',
    'git-doc': r'usr/share/doc/git-doc/.*\.html$',
    'harden-doc': r'usr/share/doc/harden-doc/html/en-US/.*\.html$',
    'installation-guide-amd64': r'usr/share/doc/installation-guide-amd64/en/.*\.html$',
    'maint-guide': r'usr/share/doc/maint-guide/html/.*\.en\.html$',
    'perl-doc': r'usr/share/perl/[0-9.]*/pod/(?!perl\d+delta|perltoc).*\.pod$',
    'postfix-doc': r'usr/share/doc/postfix/html/.*\.html$',
    'postgresql-doc-15': r'usr/share/doc/postgresql-doc-15/html/.*\.html$',
    'python-django-doc': r'usr/share/doc/python-django-doc/html/(faq|howto|internals|intro|ref|topics)/.*\.html$',
    'python3.11-doc':
        r'usr/share/doc/python3\.11/html/(c-api|extending|faq|howto|install|library|reference|tutorial|using|whatsnew)'
        r'/.*\.html$',
    'sqlite3-doc': r'usr/share/doc/sqlite3/.*\.html$',
    'zsh-doc': r'usr/share/doc/zsh-common/html/.*\.html$',
}
# Pages of names and links, or too large a list to be prose.
SKIPPED = re.compile(r'(^|/)(genindex.*|search|py-modindex|bookindex|toc|tags|keyword_index|.*changelog.*|.*-Index|'
                     r'doc_keyword_crossref|doc_backlink_crossref|doc_pagelink_crossref|doc_target_crossref|requirements|'
                     r'matrix.*|hlr\d+|session_changegroup_.*)\.html$')
MIN_CHARACTERS = 400
VALID_PARTS = 96  # one of so many goes to validation

SILENT_TAGS = {'head', 'script', 'style', 'nav', 'footer', 'header', 'select', 'button', 'form', 'svg'}
SILENT_CLASSES = {'navheader', 'navfooter', 'sphinxsidebar', 'related', 'footer', 'toc', 'headerlink', 'docnav', 'nosearch',
                  'breadcrumbs', 'contents', 'navigation', 'bottomlang', 'toplang', 'nav', 'fancy_toc', 'rightsidebar'}
VOID_TAGS = {'br', 'hr', 'img', 'input', 'meta', 'link', 'col', 'area', 'base', 'wbr', 'embed', 'source', 'param'}
BLOCK_TAGS = {'p', 'div', 'li', 'ul', 'ol', 'dl', 'dt', 'dd', 'table', 'tr', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'pre',
              'blockquote', 'section', 'article', 'body', 'caption', 'thead', 'tbody'}
PARAGRAPH_TAGS = {'p', 'pre', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'table', 'blockquote', 'dl', 'ul', 'ol'}


class PageText(html.parser.HTMLParser):
    """Collects the visible text of a page; navigation is left out, <pre> keeps its line ends."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.parts = []
        self.open = []  # (tag, whether its content is left out) of the elements around
        self.silent = 0
        self.pre = 0

    def handle_starttag(self, tag, attributes):
        if tag in ('br', 'hr'):
            self.parts.append('\n')
        if tag in VOID_TAGS:
            return
        if tag in ('p', 'li', 'dt', 'dd', 'tr', 'td', 'th'):  # their end tags may be left out
            while self.open and self.open[-1][0] == tag:
                self.close()
        attributes = dict(attributes)
        classes = set((attributes.get('class') or '').split())
        silent = (tag in SILENT_TAGS or bool(classes & SILENT_CLASSES) or attributes.get('role') == 'navigation' or
                  attributes.get('id') in SILENT_CLASSES)
        self.open.append((tag, silent))
        self.silent += silent
        self.pre += tag == 'pre'
        self.space(tag)

    def handle_endtag(self, tag):
        if tag in VOID_TAGS or all(name != tag for name, _ in self.open):
            return
        while self.close() != tag:
            pass

    def close(self):
        tag, silent = self.open.pop()
        self.silent -= silent
        self.pre -= tag == 'pre'
        self.space(tag)
        return tag

    def space(self, tag):
        if tag in PARAGRAPH_TAGS:
            self.parts.append('\n\n')
        elif tag in BLOCK_TAGS:
            self.parts.append('\n')
        elif tag in ('td', 'th'):
            self.parts.append(' ')

    def handle_data(self, data):
        if self.silent:
            return
        self.parts.append(data if self.pre else re.sub(r'\s+', ' ', data))


def text_of_html(source):
    page = PageText()
    page.feed(source)
    return ''.join(page.parts)


POD_CODE = re.compile(r'[BCFISXZ](?:<<+ (.*?) >>+|<([^<>]*)>)', re.S)
POD_LINK = re.compile(r'L<(?:([^<>|]*)\|)?([^<>]*)>', re.S)
POD_CHARACTERS = {'lt': '<', 'gt': '>', 'verbar': '|', 'sol': '/'}


def text_of_pod(source):
    lines, keep = [], True
    for line in source.split('\n'):
        if line.startswith('='):
            command, _, rest = line[1:].partition(' ')
            if command == 'begin':
                keep = False
            elif command == 'end':
                keep = True
            elif keep and (command.startswith('head') or command == 'item') and rest.strip('* '):
                lines.append(rest)
        elif keep:
            lines.append(line)
    text = '\n'.join(lines)
    for _ in range(4):  # codes inside codes, from the inside
        text = POD_LINK.sub(lambda m: m[1] or m[2], text)
        text = POD_CODE.sub(lambda m: '' if m[0][0] in 'XZ' else m[1] or m[2] or '', text)
    return re.sub(r'E<(\w+)>', lambda m: POD_CHARACTERS.get(m[1], m[0]), text)


def tidy(text):
    text = text.replace('\r', '').replace('\u00a0', ' ').replace('\u00b6', '').replace('\u200b', '').replace('\u00ad', '')
    lines = [re.sub(r'(?<=\S) {3,}', '  ', line.replace('\t', '    ').rstrip()) for line in text.split('\n')]
    lines = [line[1:] if line[:1] == ' ' and line[1:2] != ' ' else line for line in lines]
    return re.sub(r'\n{3,}', '\n\n', '\n'.join(lines)).strip('\n')


def unpack(package, cache):
    folder = os.path.join(cache, package)
    if not os.path.isdir(folder):
        found = [name for name in os.listdir(cache) if name.startswith(package + '_') and name.endswith('.deb')]
        if not found:
            subprocess.run(['apt-get', 'download', '-q', package], cwd=cache, check=True)
            found = [name for name in os.listdir(cache) if name.startswith(package + '_') and name.endswith('.deb')]
        subprocess.run(['dpkg-deb', '-x', sorted(found)[-1], package + '.part'], cwd=cache, check=True)
        os.rename(folder + '.part', folder)
    return folder


def read_package(package, pattern, cache):
    """The documents of one package, (name, text), lines that repeat on many pages left out."""
    folder = unpack(package, cache)
    documents, seen = [], set()
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            inside = os.path.relpath(path, folder)
            if not re.match(pattern, inside) or SKIPPED.search(inside) or os.path.islink(path):
                continue
            with open(path, 'rb') as file:
                source = file.read()
            try:
                source = source.decode('utf-8')
            except UnicodeDecodeError:
                source = source.decode('latin-1')
            documents.append((inside, tidy(text_of_pod(source) if name.endswith('.pod') else text_of_html(source))))
    documents.sort()
    pages = collections.Counter()
    for _, text in documents:
        pages.update({line.strip() for line in text.split('\n') if line.strip()})
    often = max(8, len(documents) // 10)
    result = []
    for name, text in documents:
        text = '\n'.join(line for line in text.split('\n') if len(line.strip()) < 4 or pages[line.strip()] < often)
        text = tidy(text)
        key = hashlib.sha256(text.encode()).digest()
        if len(text) >= MIN_CHARACTERS and key not in seen:
            seen.add(key)
            result.append((f'{package}/{name}', text))
    return result


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    cache, out = sys.argv[1:]
    os.makedirs(cache, exist_ok=True)
    os.makedirs(out, exist_ok=True)
    documents = []
    for package, pattern in sorted(PACKAGES.items()):
        found = read_package(package, pattern, cache)
        print(f'{package:26s} {len(found):5d} documents {sum(len(t.encode()) for _, t in found) / 1e6:6.2f} MB')
        documents += found
    documents.sort(key=lambda document: hashlib.sha256(document[0].encode()).digest())
    files = {kind: open(os.path.join(out, kind + '.jsonl'), 'w', encoding='utf-8') for kind in ('train', 'valid')}
    sizes = collections.Counter()
    for name, text in documents:
        kind = 'valid' if hashlib.sha256(name.encode()).digest()[-1] % VALID_PARTS == 0 else 'train'
        files[kind].write(json.dumps({'text': text, 'source': name}, ensure_ascii=False) + '\n')
        sizes[kind] += len(text.encode())
    for kind, file in files.items():
        file.close()
        print(f'{kind}.jsonl: {sizes[kind] / 1e6:.2f} MB of text')


if __name__ == '__main__':
    main()
