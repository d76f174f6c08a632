# SPDX-License-Identifier: Apache-2.0
"""Small Jinja templates for jinja_diff.py: expressions, statements, errors. Each runs on CONTEXT below."""

CONTEXT = {
    "s": "Hello, World", "t": "  padded\t\n", "u": "äÖß ŉ ǆ ΑΣ Σ, 日本 🙂", "e": "", "q": "it's \"q\" \\ \n\t\x01\x7f\u00a0",
    "m": "one two  three\nfour\r\nfive", "n": 7, "z": 0, "neg": -3, "f": 2.5, "g": -0.125, "big": 123456789012345678,
    "tr": True, "fa": False, "no": None, "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "em": [], "mix": [1, "a", None, True, 2.0, [1], {"k": 1}],
    "d": {"b": 1, "a": {"x": [1, 2, {"y": "deep"}]}, "items": "key", "get": 5, "C": "é"}, "ed": {},
    "rows": [{"name": "x", "v": 3, "tag": {"k": "p"}}, {"name": "Y", "v": 1, "tag": {"k": "q"}}, {"name": "z", "v": 2}, {"name": "x", "v": 0, "tag": {"k": "p"}}],
}

_VALUES = ["s", "t", "u", "e", "n", "z", "neg", "f", "tr", "no", "l", "em", "d", "missing"]
_BINARY = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]
_METHODS = ["upper()", "lower()", "title()", "capitalize()", "swapcase()", "strip()", "lstrip()", "rstrip()", "strip(' dH')",
            "lstrip('Hel')", "rstrip('dl')", "split()", "split(',')", "split(' ', 1)", "split(none, 1)", "rsplit(none, 1)", "rsplit(' ', 1)",
            "split('zz')", "splitlines()", "splitlines(true)", "replace('l', 'L')", "replace('l', 'L', 1)", "replace('', '-')",
            "replace('l', '', 2)", "startswith('He')", "startswith(('x', 'H'))", "startswith('e', 1)", "endswith('d')", "endswith(('x', 'd'))",
            "find('o')", "find('o', 5)", "find('zz')", "rfind('o')", "index('o')", "rindex('l')", "count('l')", "count('')", "count('l', 4)",
            "isalpha()", "isdigit()", "isalnum()", "isspace()", "islower()", "isupper()", "istitle()", "isascii()", "isidentifier()",
            "isdecimal()", "isnumeric()", "isprintable()", "center(30, '*')", "ljust(30)", "rjust(31, '.')", "center(3)", "zfill(20)", "partition(',')",
            "rpartition('o')", "partition('zz')", "rpartition('zz')", "removeprefix('Hel')", "removesuffix('ld')", "expandtabs(4)", "join(['a', 'b'])", "encode"]
_FILTERS = ["upper", "lower", "title", "capitalize", "trim", "trim('H d')", "length", "count", "string", "safe", "int", "int(9)", "float",
            "float(1.5)", "abs", "round", "round(1)", "round(1, 'floor')", "round(0, 'ceil')", "round(-1)", "first", "last", "list", "join", "join(', ')", "join('-', 'name')",
            "sort", "sort(reverse=true)", "unique | list", "min", "max", "sum", "reverse | list", "default('D')", "default('D', true)", "d", "tojson",
            "tojson(indent=2)", "tojson(ensure_ascii=true)", "tojson(sort_keys=true)", "tojson(separators=(',', ':'))", "tojson(indent='>')",
            "indent", "indent(2, true)", "indent(3, first=true, blank=true)", "indent('~ ')", "replace('o', '0')", "replace('o', '0', 1)", "wordcount", "escape",
            "urlencode", "center(20)", "truncate(9)", "truncate(9, true)", "truncate(9, true, '', 0)", "items | list", "dictsort", "dictsort(reverse=true)",
            "dictsort(false, 'value')", "map('upper') | list", "map('string') | map('length') | list", "select | list", "reject | list", "select('number') | list",
            "select('odd') | list", "reject('string') | join('|')", "batch(2) | list", "batch(2, 'F') | list", "slice(2) | list", "slice(2, 'F') | list",
            "attr('items')", "format(1)", "nosuchfilter"]
_TESTS = ["defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number", "integer", "float", "boolean", "true", "false",
          "odd", "even", "divisibleby 2", "divisibleby(3)", "lower", "upper", "callable", "sameas none", "eq 7", "equalto('Hello, World')", "ne 7",
          "gt 1", "ge 7", "lt 3", "le 0", "in [7, none]", "in 'Hello, World!'", "escaped", "nosuchtest"]

_EXPRESSIONS = """1 + 2 * 3|2 ** 3 ** 2|-2 ** 2|7 // 2, -7 // 2, 7 % 3, -7 % 3, 7 % -3, -7.5 // 2, -7.5 % 2|7 / 2, 6 / 2|1 - 1.0|1e3, 1.5e-7, 1e16, 1e15, 123456.789e3
0.1 + 0.2, 1e22, 1e-5, 0.0001, -0.0, 1_000, 0x1F, 0o17, 0b11, 00|100000000000 * 100000000000|2 ** 62, 2 ** 64, 2 ** -1|1/3|10 // 0|1 % 0|1.0 / 0
true + 1, true ~ 1, not 1, not none, not '' and 1|1 < 2 < 3, 1 < 3 < 2, 3 > 2 >= 2 != 1|1 == 1.0, '1' == 1, true == 1, none == false, [1] == (1,), {} == {}
(1, 2), (1,), (), [], {}, [1, 'a', none], {'a': 1, 2: [3]}|'a' 'b' "c"|'a' ~ 1 + 2|1 ~ 2 * 3|'x' * 3, 3 * 'x', 'x' * 0, 'x' * -1, [1] * 2, (1,) * 2
'%s-%d-%5.2f|%x' % ('a', 5, 3.14159, 255)|'%(a)s %(b)r' % {'a': 1, 'b': 'x'}|'%05d|%-5d|%+d|% d' % (42, 42, 42, 42)|'%5s|%-5s|%.2s' % ('ab', 'ab', 'abc')|'%%|%c' % 'x'|'%e %g %G' % (12345.678, 0.00001, 1e20)
'%s' % none|'%d' % 'x'|'%s %s' % ('a',)|'%s' % ('a', 'b')|'a' % 1|'%r' % 'it'|'{} {}'.format(1, 'b')|'{1} {0} {1}'.format('a', 'b')|'{x} {y.name} {z[0]} {z[1]}'.format(x=1, y=rows[0], z=l)
'{:>8}|{:<8}|{:^8}|{:*^9}'.format('ab', 'ab', 'ab', 'ab')|'{:05d} {:+d} {:,} {:x} {:#x} {:b} {:o}'.format(42, 42, 1234567, 255, 255, 5, 8)|'{:.2f} {:8.3f} {:e} {:g} {:%} {:.1%}'.format(3.14159, 2.5, 12345.6, 0.0001, 0.5, 0.256)
'{!r} {!s:>4}'.format('a', 'b')|'{:{w}}|'.format('a', w=5)|'{{}} {}'.format(1)|'{}'.format()|'{'.format(1)|'}'.format(1)|'{x}'.format(1)|'{0.__class__}'.format(1)|'{:.3}'.format('abcdef')|'{:5}|{:<5}'.format(1, 1)
s[0], s[-1], s[1:4], s[:3], s[-3:], s[::2], s[::-1], s[5:2], s[100:], s[-100:2], s[10:1:-3], s[-2:-5:-1]|u[0], u[-1], u[3:7], u[::-1], u|length|l[0], l[-1], l[1:], l[::-1], l[5], l[-4], l['x'], l[1.5], l[true]|s[99], s['x'], s['upper']()
l[0:2:0]|no[1]|no.x|no.x.y|missing.x|missing['x']|d.b, d['b'], d.a.x[2].y, d.nope, d['nope']|d.nope.x|d.items, d['items'], d.get, d['get']|d.items() | list|d.get('b'), d.get('zz'), d.get('zz', 3)|d.keys(), d.values() | list|d.keys() | list
d | length, d | list, d | first, d | last|'b' in d, 'zz' in d, 1 in l, 'ell' in s, '' in s, none in mix|1 in s|'a' in no|'a' in 5|missing in l, 'x' in missing|missing|missing + 1|missing ~ 'a'|missing == missing2, missing == none, missing != 1|missing < 1|not missing|-missing|missing()
missing | length, missing | list, missing | join, missing | upper, missing | string | length, missing | first is defined|missing | int|missing | tojson|[missing] , {'a': missing}|missing if false|(missing if false) is defined|(1 if false).x|'a' if tr else 'b'|'a' if fa else 'b' if tr else 'c'|1 if fa or tr and fa else 2
[1, 2] + [3], (1,) + (2,), 'a' + 'b'|[1] + (2,)|'a' + 1|1 + 'a'|[1] - [1]|none + 1|none ~ none|l | sum, l | max, l | min, ls | sort, ls | sort(case_sensitive=true), ls | max, ls | unique | list|['a', 'A', 'b'] | unique | list, [1, 1.0, true, '1'] | unique | list|mix | sort|[1, 'a'] | max
rows | map(attribute='name') | list, rows | map(attribute='tag.k', default='-') | list, rows | map(attribute='zz') | list|rows | selectattr('v') | map(attribute='name') | join(','), rows | selectattr('v', 'gt', 1) | list | length, rows | rejectattr('tag') | map(attribute='name') | join|rows | selectattr('tag', 'defined') | list | length
rows | sort(attribute='v') | map(attribute='v') | join, rows | sort(attribute='name,v', reverse=true) | map(attribute='v') | join, rows | sum('v'), rows | sum(attribute='v', start=10)|rows | groupby('name') | list | length|rows | groupby('tag.k', default='none') | map('first') | list|rows | map(attribute='v') | select('even') | list|rows | unique(attribute='name') | map(attribute='v') | list|rows | max(attribute='v') | tojson
rows | join(',', attribute='v')|range(5) | list, range(2, 5) | list, range(5, 0, -2) | list, range(0) | list|range(3), range(1, 9, 3), range(5)[1:3], range(5)[-1], 3 in range(5), range(3) == range(3)|range(1, 2, 0)|range(1000000)|range('a')|dict(a=1, b='x'), dict({'a': 1}, b=2), dict([('k', 1)])|dict(1)
namespace(a=1).a, namespace({'x': 2}).x, namespace().y is defined|namespace(a=[1]) |string|cycler('a', 'b').next()|cycler()|joiner() is callable|1.5 | int, '42' | int, '4.7' | int, 'x' | int, '0x1f' | int(0, 16), ' 12 ' | int, '1_000' | int, none | int(3), '' | int(5), true | int, '-7' | int, '1e3' | int|'3.5' | float, 'inf' | float, 'nan' | float, 'x' | float, ' 1e3 ' | float
2.5 | round, 3.5 | round, 2.675 | round(2), 1234.5 | round(-2), 5 | round, 1.25 | round(1), -2.5 | round, 15 | round(-1), 25 | round(-1)|2.1 | round(0, 'ceil'), 2.9 | round(0, 'floor'), 2.15 | round(1, 'ceil')|2 | round(1, 'bad')|'a' | round|5 | abs, -5.5 | abs|'x' | abs|l | tojson, d | tojson, q | tojson, u | tojson(ensure_ascii=true), f | tojson, big | tojson, none | tojson, true | tojson, (1, 2) | tojson, {1: 2, none: 3, true: 4, 1.5: 5} | tojson
{'a': [], 'b': {}, 'c': [1, {'d': 2}]} | tojson(indent=2)|{'b': 1, 'a': 2} | tojson(sort_keys=true, separators=(',', ':'))|[1, 2] | tojson(indent=0)|range(3) | tojson|namespace(a=1) | tojson|{(1, 2): 3} | tojson|[1e400, -1e400] | tojson|q, [q], u, [u], ['\\'', '"', '\\'"']|['\\u200b', '\\x85', '\\ud7ff', '\\U0001F600']
'\\n\\t\\\\\\'\\x41\\u00e9\\101\\q'|"\\""|'a\\
b'|s | upper | lower | title|'hello wORLD foo-bar (baz [qux' | title, "it's they're".title(), 'hello wORLD' | capitalize|'ǆ ŉ ß ﬁ'.title(), 'ß ﬁ ŉ'.upper(), 'ΑΣ ΑΣΑ Σ'.lower(), 'ŉa'.capitalize(), 'İ'.lower()|loop is defined, caller is defined|s.__class__|s.__class__.__mro__|s['__class__'], l.append, d.pop, l['sort']|l.append(1)|d.update({'a': 1})|d.pop('b')|''.__class__.__base__|s.nope|s.nope()|n()|n.x, n[0], tr.x|n.x.y|l.index(1), l.count(2)|l.index(9)|(1, 2).index(2)
d.a.x[2]['y'][0], d['a']['x'][-1].y[1:]|l | first, em | first is defined, em | last is defined, s | first, s | last|none | first|5 | length|5 | list|none | list|none | join|none | length|l | map('nosuch') | list|l | map | list|l | select('nosuch') | list|rows | map('attr', 'x') | list|l | map('round', 1) | list|none | map('upper') | list|5 | map('upper') | list
loop.index|l|string|length|l|join|upper|(l|join)|upper|n is odd and z is even|n is not odd|not n is odd|n is divisibleby 7|l is iterable and l is not string|n is in l|n is in([7])|n is number is defined|n is sameas 7, none is sameas none, true is sameas 1, l is sameas l|1.0 is integer, 1 is float, true is integer, true is number|'x' is filter, 'upper' is filter, 'odd' is test
s | replace('l', 1), 123 | replace(2, 'x')|123 | upper, none | upper, l | upper|none | trim, 5 | trim|d | join(','), s | join('.')|s | reverse, l | reverse | list, d | reverse | list|s | list | length|'a,b,c'.split(',')[1:] | join('-')|'a b c'.split()[-1]|s.split('o') | length|(s ~ t).strip().upper()[0:3]|s|length + 1|-s|length|-n|abs|+tr|- - n|not not n
'a' < 'b', 'a' < 'B', [1, 2] < [1, 3], (1,) < (1, 2)|'a' < 1|none < 1|[] < {}|1 <= 1.0 <= true|d == {'b': 1}|l == [3, 1, 2]|{'a': 1}.a, {'a': 1}['a'], [1, 2][0], 'abc'[1], (1, 2)[1]|{}.x is defined|{[1]: 2}|[1][1:][0] is defined|{'a': 1, 'a': 2}|{'a': 1,}, [1,], (1,)|[1, 2,][1]
'&<>"\\'' | e|'a b/c?d=é' | urlencode|'one two three four' | truncate(11), 'one two three four' | truncate(15), 'abc' | truncate(2)|'a\\nb\\n\\nc' | indent, 'a\\nb\\n\\nc' | indent(2, blank=true), '' | indent(2, true)|5 | indent|'x' | center(4), 'x' | center(5), 'xy' | center(5)|'x'.center(4), 'xy'.center(5), 'x'.center(5, '-')|'-5'.zfill(5), '+5'.zfill(1)|'%s' | format('x'), '%(a)s' | format(a=1), '%d%%' | format(5)|'a' | nosuch|1 is nosuch|'x' if 1 else ('y' | nosuch)
1 2|1 +|(1|[1|{1: 2|'abc|1 }|s.|s[|s|(|@|1 = 2|a b|is defined|x is|x is not|not|{{ 1 }}|1 if|for|)|]|'\\x4'|'\\u12'|'\\N{DASH}'|f(a=1, a=2)|f(a=1, 2)|f(*l, 1)|f(**d, *l)|'{}-{}'.format(*l)|'{a}'.format(**{'a': 5})|dict(**{'a': 1})|range(*[1, 4]) | list|(1, 2, 3)[1:]|l[1:2, 3]|none.x is defined|none['x'] is defined|(none | default('a')), (none | default('a', true)), ('' | default('a')), ('' | default('a', true)), (missing.x | default(1))|n | default|n | string ~ 1|s | length > 3 and s | first == 'H'|s.upper | string is string|d.items is callable|d['a'].x|d['a']['x'] | map('string') | join(';')"""

_STATEMENTS = [
    "{% if n %}a{% endif %}b", "{% if z %}a{% elif n %}b{% else %}c{% endif %}", "{% if z %}a{% elif z %}b{% elif tr %}x{% else %}c{% endif %}",
    "{% for x in l %}{{ x }},{% endfor %}", "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}", "{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for x in [1, 1, 2, 2, 1] %}{% if loop.changed(x) %}{{ x }}{% endif %}{% endfor %}", "{% for x in l if x > 1 %}{{ x }}{{ loop.index }}{{ loop.length }}{% endfor %}",
    "{% for x in em %}a{% else %}empty{% endfor %}", "{% for x in l if x > 9 %}a{% else %}none{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}", "{% for c in s %}{{ c }}.{% endfor %}", "{% for c in u %}{{ c }}.{% endfor %}", "{% for x in missing %}a{% else %}b{% endfor %}",
    "{% for x in no %}a{% endfor %}", "{% for x in 5 %}a{% endfor %}", "{% for a, b in [(1, 2), [3, 4], 'xy'] %}{{ a }}{{ b }} {% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}",
    "{% for a, b in [(1,)] %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "{% break %}", "{% for x in l %}{% macro q() %}{% break %}{% endmacro %}{% endfor %}",
    "{% set x = 1 %}{{ x }}", "{% set x, y = 1, 2 %}{{ x }}{{ y }}", "{% set x = 1, 2 %}{{ x }}", "{% set x = 1 %}{% for i in l %}{% set x = i %}{{ x }}{% endfor %}{{ x }}",
    "{% for i in l %}{{ x is defined }}{% set x = i %}{% endfor %}", "{% set x = 1 %}{% if tr %}{% set x = 2 %}{% endif %}{{ x }}", "{% set ns = namespace(c=0) %}{% for i in l %}{% set ns.c = ns.c + i %}{% endfor %}{{ ns.c }}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b }}{{ ns['a'] }}", "{% set d.x = 1 %}", "{% set zz.x = 1 %}", "{% set d['x'] = 1 %}", "{% set x %}a{{ n }}b{% endset %}{{ x }}|{{ x | length }}", "{% set x | upper %}abc{% endset %}{{ x }}",
    "{% set x | upper | replace('B', '-') %}abc{% endset %}{{ x }}", "{% set y = 5 %}{% set x %}{% set y = 6 %}{{ y }}{% endset %}{{ x }}{{ y }}", "{% set ns = namespace(t='') %}{% set ns.t %}q{{ n }}{% endset %}{{ ns.t }}",
    "{% macro f(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }}|{{ f(1, 3) }}|{{ f(b=5, a=4) }}|{{ f(1, c=9) }}", "{% macro f(a) %}[{{ a }}]{% endmacro %}{{ f() }}{{ f(1) | length }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}", "{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}", "{% macro f(a) %}{{ a }}{{ varargs | length }}{% endmacro %}{{ f(1, 2, 3) }}", "{% macro f(a) %}{{ caller is defined }}{% endmacro %}{{ f() }}",
    "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}in{{ n }}{% endcall %}", "{% macro f() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) f() %}{{ a }}-{{ b }}{% endcall %}", "{% macro f() %}x{% endmacro %}{% call f() %}y{% endcall %}", "{% macro f() %}{{ caller() }}{% endmacro %}{{ f() }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{% set x = 1 %}{% macro f() %}{{ x }}{% set x = 2 %}{{ x }}{% endmacro %}{{ f() }}{{ x }}", "{% macro f() %}{{ x }}{% endmacro %}{% set x = 3 %}{{ f() }}", "{{ f }}{% macro f() %}a{% endmacro %}", "{% macro f(a, b=1) %}{% endmacro %}{{ f.name }}{{ f.arguments }}{{ f.catch_kwargs }}{{ f }}",
    "{% macro f(a=1, b) %}{% endmacro %}", "{% for i in l %}{% macro f() %}{{ i }}{% endmacro %}{{ f() }}{% endfor %}", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}", "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% set a = 3 %}{% endwith %}{{ a }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}",
    "{% filter upper %}abc{{ s }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aXa{% endfilter %}", "{% filter nosuch %}a{% endfilter %}", "{% filter trim %}  {% set w = 1 %}{{ w }} {% endfilter %}{{ w is defined }}",
    "{% raw %}{{ x }}{% if %}{% endraw %}", "{%- raw -%}  {{ x }}  {%- endraw -%}  y", "a {% raw %}\n b{% endraw %}\nc", "{# c #}a{# {{ x }} #}b", "a {#- c -#} b", "a\n  {# c #}\nb", "{# open", "{% raw %}x", "a{# c #}\n\nb",
    "a\n{% if tr %}\nb\n{% endif %}\nc", "a\n  {% if tr %}\n  b\n  {% endif %}\nc\n", "a\n  {%+ if tr %}\n  b\n  {%+ endif %}\nc", "a  {%- if tr -%}  b  {%- endif -%}  c", "a {% if tr +%}\nb{% endif %}", "  {{ n }}  \n  {{- n -}}  \n x", "\n\n{{ n }}\n\n", "a\n", "a\n\n", "a\r\nb\rc\r\n", "{{ n }}\n{{ n }}\n",
    "{{-n}}", "{{+n}}", "{{ -n }}", "{{-1}}{{- 1 -}} ", "{{n-}} x", "   {% set a = 1 %}   {{ a }}", "x {% set a = 1 %}\n  {% set b = 2 %}\n y", "{%if n%}a{%endif%}", "{%   if   n   %}a{%   endif   %}", "{% if n: %}a{% endif %}", "{% for x in l: %}{{ x }}{% endfor %}",
    "{{ '{{' }}{{ '%}' }}{{ '}}' }}", "{{ {'a': {'b': 1}}['a']['b'] }}", "{{ {} }}", "{{ {'a': 1} }}}", "{% print 1, 'a' %}", "{% for x in l recursive %}{{ x }}{% endfor %}", "{% for x in [1, [2, [3]], 4] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}@{{ loop.depth }}{% endif %}{% endfor %}", "{% for x in l %}{{ loop(l) }}{% endfor %}",
    "{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}", "{% for x in l %}{{ loop }}{% endfor %}", "{% for x in l %}{% set o = loop %}{% for y in [1] %}{{ o.index }}{% endfor %}{% endfor %}", "{% for loop in l %}{% endfor %}", "{% for x in l %}{{ loop.nope }}{{ loop.length }}{{ loop|length }}{% endfor %}",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}", "{% set j = joiner('|') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}", "{% set g = l | map('string') %}{{ g | list }}{{ g | list }}", "{% set g = l | select('odd') %}{% if g %}t{% endif %}{{ g | first }}{{ g | list }}", "{% set r = l | reverse %}{{ r | first }}{{ r | list }}",
    "{% block a %}x{{ n }}{% endblock %}", "{% block a %}x{% endblock a %}y", "{% block a %}{% endblock %}{% block a %}{% endblock %}", "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{% from 'x' import y %}", "{% nosuch %}", "{% endif %}", "{% if n %}", "{% for x in l %}", "{% if n %}{% endfor %}", "{% macro f() %}", "{% set x %}", "{% %}", "{{ }}", "{{", "{%", "{% if %}a{% endif %}", "{% for %}{% endfor %}", "{% for x l %}{% endfor %}", "{% set %}", "{% set 1 = 2 %}", "{% set x = %}", "{% set true = 1 %}", "{% set a.b.c = 1 %}", "{% call 1 %}{% endcall %}", "{% else %}", "{% with a %}{% endwith %}", "{% do l %}",
    "a\nb\n{{ 1 / 0 }}", "a\n{# x\ny #}\n{{ missing.x }}", "{% if tr %}\n\n{{ raise_exception('stop ' ~ n) }}\n{% endif %}", "\n\n{% nosuch %}", "\n{{ 'a\nb' }}\n{{ 1 + }}", "{% macro f() %}\n\n{{ 1 / 0 }}\n{% endmacro %}\n\n\n{{ f() }}", "{% for x in l %}\n{% if x == 2 %}\n{{ x.y.z }}{% endif %}\n{% endfor %}", "a\n\n\n{{ s\n | upper\n | nosuch }}", "{% set x = [\n1,\n2,\n3 +\n] %}",
    "{% generation %}a{{ n }}{% endgeneration %}b", "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}", "{% for x in l %}{% generation %}{{ loop.index }}{% endgeneration %}{% endfor %}",
    "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}", "{{ messages[0].content.x }}", "{{ messages[-1]['content'][::-1] }}", "{{ messages | map(attribute='role') | unique | join(',') }}", "{{ tools is none }}{{ tools is defined }}{{ documents is none }}{{ bos_token }}{{ add_generation_prompt }}", "{{ messages }}", "{{ messages | tojson(indent=1) }}", "{{ messages | length }}{{ messages is sequence }}",
    "{%- for m in messages %}\n  {%- if loop.first %}\n    {{- m.role }}\n  {%- else %}\n    {{ m.role }}\n  {%- endif %}\n{%- endfor %}\n", "{% set messages = messages[1:] %}{{ messages | length }}", "{% for m in messages %}{% set _ = m.update({'x': 1}) %}{% endfor %}", "{% set content = messages[0].content %}{% if content is string and content.startswith('he') %}{{ content[2:] | trim | upper }}{% endif %}",
    "{% if 'x' in messages[0] %}a{% elif messages[0].x is not defined %}b{% endif %}", "{{ strftime_now('%Y') | length }}{{ strftime_now('%d %b %Y') is string }}", "{{ namespace(a=1, b='x') }}", "{% set ns = namespace(l=[]) %}{% for x in l %}{% set ns.l = ns.l + [x * 2] %}{% endfor %}{{ ns.l }}{{ ns.l | sum }}",
]


def snippets():
    """Every template text, in a fixed order."""
    out = []
    for a in _VALUES:
        for op in _BINARY:
            for b in _VALUES:
                out.append("{{ %s %s %s }}" % (a, op, b))
    for method in _METHODS:
        for value in ("s", "t", "u", "e", "m"):
            out.append("{{ [%s.%s] }}" % (value, method) if method != "encode" else "{{ %s.%s is defined }}" % (value, "nope"))
    for name in _FILTERS:
        for value in ("s", "u", "m", "q", "n", "neg", "f", "g", "tr", "no", "l", "ls", "em", "mix", "d", "rows", "missing"):
            out.append("{{ %s | %s }}" % (value, name))
    for name in _TESTS:
        for value in ("s", "e", "n", "z", "f", "tr", "no", "l", "d", "missing", "rows", "range(3)", "d.items()", "d.get", "namespace()"):
            out.append("{{ %s is %s }}" % (value, name))
    # A newline or a "|" not inside parentheses or spaces separates: "a|b" is two entries, "a | b" one.
    import re
    for entry in re.split(r"(?<! )\|(?! )|\n(?!b')", _EXPRESSIONS):
        out.append("{{ (%s) | string }}" % entry if "," in entry and not re.search(r"\bf\(", entry) else "{{ %s }}" % entry)
    out.extend(_STATEMENTS)
    return list(dict.fromkeys(out))
