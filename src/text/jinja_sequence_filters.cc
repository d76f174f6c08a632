// SPDX-License-Identifier: Apache-2.0
// Filters on lists and mappings. Those that are generators in jinja2 give a kGenerator, used up by
// one iteration.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/limits.h"
#include "text/jinja_filters.h"
#include "text/jinja_interpreter.h"

namespace planish::jinja {
namespace {

Value Generator(Heap* heap, std::vector<Value> items, OriginId origin = kFromOther) {
  const Value list = heap->List(std::move(items), origin);
  list.seq->kind = Seq::Kind::kGenerator;
  return list;
}

bool Flag(const std::optional<Value>& value) { return value && IsTrue(*value); }

// "a.b.0" or an integer, as a path of item look-ups.
class AttributePath {
 public:
  AttributePath(Heap* heap, const std::optional<Value>& attribute) {
    if (!attribute || attribute->is_none()) return;
    if (!attribute->is_string()) {
      parts_.push_back(*attribute);
      return;
    }
    Str* dot = heap->View(".", kFromTemplate).text;
    for (const Value& part : Split(heap, attribute->text, dot, -1, /*from_right=*/false)) {
      const std::string_view text = heap->Text(part.text);
      const bool is_index =
          IsAll(text, Class::kDecimal) && text.size() < 19 && IsAll(text, Class::kAscii);
      Int index = 0;
      if (is_index) {
        for (const char c : text) index = index * 10 + (c - '0');
      }
      parts_.push_back(is_index ? Value::Integer(index) : part);
    }
  }

  Value Get(Interpreter& interpreter, Value item,
            const std::optional<Value>& fallback = std::nullopt) const {
    for (const Value& part : parts_) {
      interpreter.heap()->Tick();
      item = interpreter.GetItem(item, part);
      if (item.is_undefined() && fallback && !fallback->is_none()) item = *fallback;
    }
    return item;
  }

 private:
  std::vector<Value> parts_;
};

// Strings compare without case unless asked otherwise.
Value FoldCase(Heap* heap, const Value& value, bool case_sensitive) {
  return case_sensitive || !value.is_string() ? value : ChangeCase(heap, value.text, Case::kLower);
}

// Stable; equal keys keep their order in either direction, as Python's sorted.
std::vector<Value> SortedBy(Heap* heap, const std::vector<Value>& items,
                            const std::vector<Value>& keys, bool reverse) {
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return reverse ? Compare(heap, keys[b], keys[a]) == -1 : Compare(heap, keys[a], keys[b]) == -1;
  });
  std::vector<Value> sorted;
  sorted.reserve(items.size());
  for (const size_t i : order) sorted.push_back(items[i]);
  return sorted;
}

Value FilterFirst(Interpreter& interpreter, Args& args) {
  const Value seq = *args.Bind("first", {"seq"}, 1)[0];
  if (seq.type == Type::kSeq && seq.seq->is_iterator()) {
    if (seq.seq->next < seq.seq->items.size()) return seq.seq->items[seq.seq->next++];
    return interpreter.heap()->Undefined("No first item, sequence was empty.");
  }
  if (seq.type == Type::kSeq && !seq.seq->items.empty()) return seq.seq->items[0];
  if (seq.is_string() && seq.text->bytes > 0) return interpreter.GetItem(seq, Value::Integer(0));
  const std::vector<Value> items = ItemsOf(interpreter.heap(), seq);
  return items.empty() ? interpreter.heap()->Undefined("No first item, sequence was empty.")
                       : items[0];
}

Value FilterLast(Interpreter& interpreter, Args& args) {
  const Value seq = *args.Bind("last", {"seq"}, 1)[0];
  if (seq.type == Type::kSeq && seq.seq->is_iterator()) {
    throw Failure{fmt::format("'{}' object is not reversible", TypeName(seq))};
  }
  if (seq.is_string() && seq.text->bytes > 0) return interpreter.GetItem(seq, Value::Integer(-1));
  const std::vector<Value> items = ItemsOf(interpreter.heap(), seq);
  return items.empty() ? interpreter.heap()->Undefined("No last item, sequence was empty.")
                       : items.back();
}

Value FilterList(Interpreter& interpreter, Args& args) {
  const Value value = *args.Bind("list", {"value"}, 1)[0];
  const OriginId origin = value.type == Type::kSeq ? value.seq->origin : kFromOther;
  return interpreter.heap()->List(ItemsOf(interpreter.heap(), value), origin);
}

Value FilterItems(Interpreter& interpreter, Args& args) {
  const Value value = *args.Bind("items", {"value"}, 1)[0];
  Heap* heap = interpreter.heap();
  if (value.is_undefined()) return Generator(heap, {});
  if (value.type != Type::kDict) throw Failure{"Can only get item pairs from a mapping."};
  std::vector<Value> pairs;
  for (const auto& [key, item] : value.dict->items) pairs.push_back(heap->Tuple({key, item}));
  return Generator(heap, std::move(pairs), value.dict->origin);
}

Value FilterReverse(Interpreter& interpreter, Args& args) {
  const Value value = *args.Bind("reverse", {"value"}, 1)[0];
  Heap* heap = interpreter.heap();
  if (value.is_string())
    return interpreter.GetSlice(value, Value::None(), Value::None(), Value::Integer(-1));
  if (!IsIterable(value)) throw Failure{"argument must be iterable"};
  const bool is_iterator = value.type == Type::kSeq && value.seq->is_iterator();
  std::vector<Value> items = ItemsOf(heap, value);
  std::reverse(items.begin(), items.end());
  const Value result =
      heap->List(std::move(items), value.type == Type::kSeq ? value.seq->origin : kFromOther);
  if (!is_iterator) result.seq->kind = Seq::Kind::kReversed;
  return result;
}

Value FilterJoin(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("join", {"value", "d", "attribute"}, 1);
  Heap* heap = interpreter.heap();
  const AttributePath path(heap, bound[2]);
  const Value separator = bound[1] ? ToText(heap, *bound[1]) : heap->View("", kFromTemplate);
  TextBuilder out(heap);
  bool is_first = true;
  for (const Value& item : ItemsOf(heap, *bound[0])) {
    if (!is_first) out.Append(separator.text);
    is_first = false;
    heap->Tick();
    AppendText(path.Get(interpreter, item), &out);
  }
  return out.Finish();
}

Value FilterSort(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("sort", {"value", "reverse", "case_sensitive", "attribute"}, 1);
  Heap* heap = interpreter.heap();
  std::vector<AttributePath> paths;
  if (bound[3] && bound[3]->is_string()) {
    Str* comma = heap->View(",", kFromTemplate).text;
    for (const Value& part : Split(heap, bound[3]->text, comma, -1, /*from_right=*/false))
      paths.emplace_back(heap, part);
  } else {
    paths.emplace_back(heap, bound[3]);
  }
  const std::vector<Value> items = ItemsOf(heap, *bound[0]);
  std::vector<Value> keys;
  for (const Value& item : items) {
    std::vector<Value> key;
    for (const AttributePath& path : paths)
      key.push_back(FoldCase(heap, path.Get(interpreter, item), Flag(bound[2])));
    keys.push_back(heap->List(std::move(key)));
  }
  const OriginId origin = bound[0]->type == Type::kSeq ? bound[0]->seq->origin : kFromOther;
  return heap->List(SortedBy(heap, items, keys, Flag(bound[1])), origin);
}

Value FilterDictSort(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("dictsort", {"value", "case_sensitive", "by", "reverse"}, 1);
  Heap* heap = interpreter.heap();
  RequireDefined(*bound[0]);
  if (bound[0]->type != Type::kDict)
    throw Failure{fmt::format("dictsort needs a mapping, not {}", TypeName(*bound[0]))};
  const std::string_view by =
      bound[2] && bound[2]->is_string() ? heap->Text(bound[2]->text) : "key";
  if (by != "key" && by != "value")
    throw Failure{"You can only sort by either \"key\" or \"value\""};
  std::vector<Value> pairs, keys;
  for (const auto& [key, value] : bound[0]->dict->items) {
    pairs.push_back(heap->Tuple({key, value}));
    keys.push_back(FoldCase(heap, by == "key" ? key : value, Flag(bound[1])));
  }
  return heap->List(SortedBy(heap, pairs, keys, Flag(bound[3])), bound[0]->dict->origin);
}

Value FilterUnique(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("unique", {"value", "case_sensitive", "attribute"}, 1);
  Heap* heap = interpreter.heap();
  const AttributePath path(heap, bound[2]);
  Dict* seen = heap->NewDict();
  std::vector<Value> kept;
  for (const Value& item : ItemsOf(heap, *bound[0])) {
    const Value key = FoldCase(heap, path.Get(interpreter, item), Flag(bound[1]));
    CheckHashable(key);
    if (heap->Find(seen, key) != nullptr) continue;
    heap->Set(seen, key, Value::None());
    kept.push_back(item);
  }
  return Generator(heap, std::move(kept));
}

template <int wanted>
Value FilterExtreme(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("min", {"value", "case_sensitive", "attribute"}, 1);
  Heap* heap = interpreter.heap();
  const AttributePath path(heap, bound[2]);
  const std::vector<Value> items = ItemsOf(heap, *bound[0]);
  if (items.empty()) return heap->Undefined("No aggregated item, sequence was empty.");
  Value best = items[0], best_key = FoldCase(heap, path.Get(interpreter, items[0]), Flag(bound[1]));
  for (size_t i = 1; i < items.size(); ++i) {
    const Value key = FoldCase(heap, path.Get(interpreter, items[i]), Flag(bound[1]));
    if (Compare(heap, key, best_key, wanted < 0 ? "<" : ">") != wanted) continue;
    best = items[i];
    best_key = key;
  }
  return best;
}

Value FilterSum(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("sum", {"iterable", "attribute", "start"}, 1);
  Heap* heap = interpreter.heap();
  const AttributePath path(heap, bound[1]);
  Value total = bound[2] ? *bound[2] : Value::Integer(0);
  if (total.is_string()) throw Failure{"sum() can't sum strings"};
  for (const Value& item : ItemsOf(heap, *bound[0])) {
    heap->Tick();
    total = interpreter.Binary(BinaryOp::kAdd, total, path.Get(interpreter, item));
  }
  return total;
}

Value FilterMap(Interpreter& interpreter, Args& args) {
  Heap* heap = interpreter.heap();
  const Value input = args.positional[0];
  if (!IsTrue(input)) return Generator(heap, {});
  std::vector<Value> mapped;
  if (args.positional.size() == 1 && !args.named.empty() &&
      std::any_of(args.named.begin(), args.named.end(),
                  [](const auto& a) { return a.first == "attribute"; })) {
    const auto bound = args.Bind("map", {"value", "attribute", "default"}, 2);
    const AttributePath path(heap, bound[1]);
    for (const Value& item : ItemsOf(heap, input))
      mapped.push_back(path.Get(interpreter, item, bound[2]));
    return Generator(heap, std::move(mapped));
  }
  if (args.positional.size() < 2) throw Failure{"map requires a filter argument"};
  if (!args.positional[1].is_string())
    throw Failure{"map: the name of the filter must be a string"};
  const std::string_view name = heap->Text(args.positional[1].text);
  for (const Value& item : ItemsOf(heap, input)) {
    Args call;
    call.positional.push_back(item);
    call.positional.insert(call.positional.end(), args.positional.begin() + 2,
                           args.positional.end());
    call.named = args.named;
    mapped.push_back(interpreter.ApplyFilter(name, call));
  }
  return Generator(heap, std::move(mapped));
}

// select, reject and, with an attribute to look at, selectattr and rejectattr.
template <bool keeps, bool by_attribute>
Value FilterSelect(Interpreter& interpreter, Args& args) {
  Heap* heap = interpreter.heap();
  const Value input = args.positional[0];
  if (!IsTrue(input)) return Generator(heap, {});
  constexpr size_t kName = by_attribute ? 2 : 1;
  if (by_attribute && args.positional.size() < 2)
    throw Failure{"Missing parameter for attribute name"};
  const AttributePath path(heap,
                           by_attribute ? std::optional<Value>(args.positional[1]) : std::nullopt);
  const bool has_test = args.positional.size() > kName;
  if (has_test && !args.positional[kName].is_string())
    throw Failure{"the name of the test must be a string"};
  std::vector<Value> kept;
  for (const Value& item : ItemsOf(heap, input)) {
    heap->Tick();
    const Value looked_at = path.Get(interpreter, item);
    bool holds;
    if (has_test) {
      Args call;
      call.positional.push_back(looked_at);
      call.positional.insert(call.positional.end(), args.positional.begin() + kName + 1,
                             args.positional.end());
      call.named = args.named;
      holds = interpreter.ApplyTest(heap->Text(args.positional[kName].text), call);
    } else {
      holds = IsTrue(looked_at);
    }
    if (holds == keeps) kept.push_back(item);
  }
  return Generator(heap, std::move(kept),
                   input.type == Type::kSeq ? input.seq->origin : kFromOther);
}

Value FilterGroupBy(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("groupby", {"value", "attribute", "default", "case_sensitive"}, 2);
  Heap* heap = interpreter.heap();
  const AttributePath path(heap, bound[1]);
  const auto key_of = [&](const Value& item) {
    return FoldCase(heap, path.Get(interpreter, item, bound[2]), Flag(bound[3]));
  };
  const std::vector<Value> items = ItemsOf(heap, *bound[0]);
  std::vector<Value> keys, groups;
  for (const Value& item : items) keys.push_back(key_of(item));
  const std::vector<Value> sorted = SortedBy(heap, items, keys, /*reverse=*/false);
  for (size_t begin = 0; begin < sorted.size();) {
    const Value key = key_of(sorted[begin]);
    size_t end = begin + 1;
    while (end < sorted.size() && Equals(heap, key_of(sorted[end]), key)) ++end;
    const auto at = [&](size_t i) { return sorted.begin() + static_cast<std::ptrdiff_t>(i); };
    const Value group = heap->Tuple({path.Get(interpreter, sorted[begin], bound[2]),
                                     heap->List(std::vector<Value>(at(begin), at(end)))});
    group.seq->is_group = true;
    groups.push_back(group);
    begin = end;
  }
  return heap->List(std::move(groups));
}

Int NeedCount(const std::optional<Value>& value, const char* what) {
  if (!value->is_integer()) throw Failure{fmt::format("{} must be an integer", what)};
  return value->AsInt();
}

Value FilterBatch(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("batch", {"value", "linecount", "fill_with"}, 2);
  Heap* heap = interpreter.heap();
  const Int count = NeedCount(bound[1], "linecount");
  std::vector<Value> rows, row;
  for (const Value& item : ItemsOf(heap, *bound[0])) {
    if (static_cast<Int>(row.size()) == count) {
      rows.push_back(heap->List(std::move(row)));
      row.clear();
    }
    row.push_back(item);
  }
  if (!row.empty()) {
    if (bound[2] && !bound[2]->is_none() && static_cast<Int>(row.size()) < count) {
      if (count > static_cast<Int>(limits::kTemplateRange))
        throw Failure{"batch: linecount is too large"};
      row.resize(static_cast<size_t>(count), *bound[2]);
    }
    rows.push_back(heap->List(std::move(row)));
  }
  return Generator(heap, std::move(rows));
}

Value FilterSlice(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("slice", {"value", "slices", "fill_with"}, 2);
  Heap* heap = interpreter.heap();
  const Int slices = NeedCount(bound[1], "slices");
  if (slices == 0) throw Failure{"integer division or modulo by zero"};
  if (slices > static_cast<Int>(limits::kTemplateRange)) throw Failure{"slice: too many slices"};
  const std::vector<Value> items = ItemsOf(heap, *bound[0]);
  std::vector<Value> columns;
  if (slices > 0) {
    const size_t count = static_cast<size_t>(slices), each = items.size() / count,
                 longer = items.size() % count;
    size_t at = 0;
    for (size_t i = 0; i < count; ++i) {
      const size_t size = each + (i < longer ? 1 : 0);
      const auto begin = items.begin() + static_cast<std::ptrdiff_t>(at);
      std::vector<Value> column(begin, begin + static_cast<std::ptrdiff_t>(size));
      if (bound[2] && !bound[2]->is_none() && i >= longer) column.push_back(*bound[2]);
      columns.push_back(heap->List(std::move(column)));
      at += size;
    }
  }
  return Generator(heap, std::move(columns));
}

struct NamedFilter {
  std::string_view name;
  Filter filter;
};

constexpr NamedFilter kFilters[] = {
    {"batch", FilterBatch},
    {"dictsort", FilterDictSort},
    {"first", FilterFirst},
    {"groupby", FilterGroupBy},
    {"items", FilterItems},
    {"join", FilterJoin},
    {"last", FilterLast},
    {"list", FilterList},
    {"map", FilterMap},
    {"max", FilterExtreme<1>},
    {"min", FilterExtreme<-1>},
    {"reject", FilterSelect<false, false>},
    {"rejectattr", FilterSelect<false, true>},
    {"reverse", FilterReverse},
    {"select", FilterSelect<true, false>},
    {"selectattr", FilterSelect<true, true>},
    {"slice", FilterSlice},
    {"sort", FilterSort},
    {"sum", FilterSum},
    {"unique", FilterUnique},
};

}  // namespace

Filter FindSequenceFilter(std::string_view name) {
  for (const NamedFilter& each : kFilters) {
    if (each.name == name) return each.filter;
  }
  return nullptr;
}

}  // namespace planish::jinja
