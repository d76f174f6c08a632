// SPDX-License-Identifier: Apache-2.0
// Evaluation of expressions, and calls of macros, methods and global functions.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <limits>

#include "base/error.h"
#include "base/limits.h"
#include "text/jinja_depth.h"
#include "text/jinja_filters.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_predicates.h"

namespace planish::jinja {

std::vector<std::optional<Value>> Args::Bind(std::string_view what,
                                             std::initializer_list<const char*> names,
                                             size_t required) const {
  std::vector<std::optional<Value>> bound(names.size());
  if (positional.size() > names.size()) {
    throw Failure{fmt::format("{} takes at most {} arguments ({} given)", what, names.size(),
                              positional.size())};
  }
  std::copy(positional.begin(), positional.end(), bound.begin());
  for (const auto& [name, value] : named) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      throw Failure{fmt::format("{} got an unexpected keyword argument {}", what, Quoted(name))};
    }
    std::optional<Value>& slot = bound[static_cast<size_t>(found - names.begin())];
    if (slot)
      throw Failure{fmt::format("{} got multiple values for argument {}", what, Quoted(name))};
    slot = value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!bound[i])
      throw Failure{fmt::format("{} misses its argument '{}'", what, names.begin()[i])};
  }
  return bound;
}

Value Interpreter::Eval(const Expr& expr, Scope* scope) {
  const DepthGuard guard(this);
  heap_->Tick();
  line_ = expr.line;
  switch (expr.kind) {
    case Expr::Kind::kConst:
      return expr.constant;
    case Expr::Kind::kString:
      return heap_->View(expr.name, kFromTemplate);
    case Expr::Kind::kName:
      return EvalName(expr, scope);
    case Expr::Kind::kTuple:
    case Expr::Kind::kList:
    case Expr::Kind::kDict:
      return EvalDisplay(expr, scope);
    case Expr::Kind::kAttr: {
      const Value object = Eval(*expr.args[0], scope);
      line_ = expr.line;
      return GetAttr(object, expr.name);
    }
    case Expr::Kind::kItem: {
      const Value object = Eval(*expr.args[0], scope);
      const Value key = Eval(*expr.args[1], scope);
      line_ = expr.line;
      return GetItem(object, key);
    }
    case Expr::Kind::kSlice:
      return EvalSlice(expr, scope);
    case Expr::Kind::kCall:
      return EvalCall(expr, scope, nullptr);
    case Expr::Kind::kFilter:
      return EvalFilter(expr, scope, nullptr);
    case Expr::Kind::kTest:
      return EvalTest(expr, scope);
    case Expr::Kind::kNot:
      return Value::Bool(!IsTrue(Eval(*expr.args[0], scope)));
    case Expr::Kind::kNeg:
    case Expr::Kind::kPos: {
      const Value value = Eval(*expr.args[0], scope);
      line_ = expr.line;
      if (expr.kind == Expr::Kind::kNeg) return Negate(value);
      RequireDefined(value);
      if (!value.is_number())
        throw Failure{fmt::format("bad operand type for unary +: '{}'", TypeName(value))};
      return value.type == Type::kBool ? Value::Integer(value.boolean) : value;
    }
    case Expr::Kind::kAnd:
    case Expr::Kind::kOr:
      return EvalLogic(expr, scope);
    case Expr::Kind::kCompare:
      return EvalCompare(expr, scope);
    case Expr::Kind::kConcat:
      return EvalConcat(expr, scope);
    case Expr::Kind::kBinary: {
      const Value a = Eval(*expr.args[0], scope);
      const Value b = Eval(*expr.args[1], scope);
      line_ = expr.line;
      return Binary(expr.op, a, b);
    }
    case Expr::Kind::kCond:
      if (IsTrue(Eval(*expr.args[0], scope))) return Eval(*expr.args[1], scope);
      if (expr.args[2] != nullptr) return Eval(*expr.args[2], scope);
      return heap_->Undefined(fmt::format(
          "the inline if-expression on line {} evaluated to false and no else section was defined.",
          expr.line));
  }
  return Value();
}

Value Interpreter::EvalName(const Expr& expr, Scope* scope) {
  if (const Value* found = scope->Find(expr.symbol)) return *found;
  return heap_->Undefined(fmt::format("{} is undefined", Quoted(expr.name)));
}

Value Interpreter::EvalDisplay(const Expr& expr, Scope* scope) {
  if (expr.kind == Expr::Kind::kDict) {
    Dict* dict = heap_->NewDict(kFromTemplate);
    for (size_t i = 0; i < expr.args.size(); i += 2) {
      const Value key = Eval(*expr.args[i], scope);
      const Value value = Eval(*expr.args[i + 1], scope);
      line_ = expr.line;
      CheckHashable(key);
      heap_->Set(dict, key, value);
    }
    return Value::Of(dict);
  }
  std::vector<Value> items;
  items.reserve(expr.args.size());
  for (const ExprPtr& arg : expr.args) items.push_back(Eval(*arg, scope));
  const Value list = heap_->List(std::move(items), kFromTemplate);
  if (expr.kind == Expr::Kind::kTuple) list.seq->kind = Seq::Kind::kTuple;
  return list;
}

Value Interpreter::EvalLogic(const Expr& expr, Scope* scope) {
  Value value;
  for (const ExprPtr& arg : expr.args) {
    value = Eval(*arg, scope);
    if (IsTrue(value) == (expr.kind == Expr::Kind::kOr)) break;
  }
  return value;
}

Value Interpreter::EvalCompare(const Expr& expr, Scope* scope) {
  Value left = Eval(*expr.args[0], scope);
  for (size_t i = 0; i < expr.compares.size(); ++i) {
    const Value right = Eval(*expr.args[i + 1], scope);
    line_ = expr.line;
    if (!CompareValues(expr.compares[i], left, right)) return Value::Bool(false);
    left = right;
  }
  return Value::Bool(true);
}

Value Interpreter::EvalConcat(const Expr& expr, Scope* scope) {
  std::vector<Value> parts;
  for (const ExprPtr& arg : expr.args) parts.push_back(ToText(heap_, Eval(*arg, scope)));
  line_ = expr.line;
  Value result = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) result = heap_->Concat(result.text, parts[i].text);
  return result;
}

Value Interpreter::EvalSlice(const Expr& expr, Scope* scope) {
  const Value object = Eval(*expr.args[0], scope);
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    bounds[i] = expr.args[i + 1] != nullptr ? Eval(*expr.args[i + 1], scope) : Value::None();
  }
  line_ = expr.line;
  return GetSlice(object, bounds[0], bounds[1], bounds[2]);
}

void Interpreter::EvalArgs(const Expr& expr, Scope* scope, Args* args) {
  for (size_t i = 1; i < expr.args.size(); ++i)
    args->positional.push_back(Eval(*expr.args[i], scope));
  for (const Keyword& keyword : expr.keywords)
    args->named.emplace_back(keyword.name, Eval(*keyword.value, scope));
  if (expr.star != nullptr) {
    for (const Value& item : ItemsOf(heap_, Eval(*expr.star, scope)))
      args->positional.push_back(item);
  }
  if (expr.double_star != nullptr) {
    const Value more = Eval(*expr.double_star, scope);
    if (more.type != Type::kDict)
      throw Failure{fmt::format("argument after ** must be a mapping, not {}", TypeName(more))};
    for (const auto& [key, value] : more.dict->items) {
      if (!key.is_string()) throw Failure{"keywords must be strings"};
      args->named.emplace_back(heap_->Text(key.text), value);
    }
  }
  line_ = expr.line;
}

Value Interpreter::EvalCall(const Expr& expr, Scope* scope, const Value* caller) {
  const Value callee = Eval(*expr.args[0], scope);
  Args args;
  EvalArgs(expr, scope, &args);
  if (caller != nullptr) args.named.emplace_back("caller", *caller);
  return Call(callee, args);
}

Value Interpreter::EvalFilter(const Expr& expr, Scope* scope, const Value* input) {
  const DepthGuard guard(this);
  Args args;
  if (expr.args[0] == nullptr) {
    args.positional.push_back(*input);
  } else if (input != nullptr) {  // inside a {% filter a|b %} chain
    args.positional.push_back(EvalFilter(*expr.args[0], scope, input));
  } else {
    args.positional.push_back(Eval(*expr.args[0], scope));
  }
  EvalArgs(expr, scope, &args);
  if (expr.filter == nullptr) throw Failure{fmt::format("No filter named {}.", Quoted(expr.name))};
  return expr.filter(*this, args);
}

Value Interpreter::EvalTest(const Expr& expr, Scope* scope) {
  Args args;
  args.positional.push_back(Eval(*expr.args[0], scope));
  EvalArgs(expr, scope, &args);
  if (expr.test == nullptr) throw Failure{fmt::format("No test named {}.", Quoted(expr.name))};
  return Value::Bool(expr.test(*this, args));
}

Value Interpreter::ApplyFilter(std::string_view name, Args& args) {
  const Filter filter = FindFilter(name);
  if (filter == nullptr) throw Failure{fmt::format("No filter named {}.", Quoted(name))};
  const DepthGuard guard(this);  // map('map', 'map', ...) recurses
  heap_->Tick();
  return filter(*this, args);
}

bool Interpreter::ApplyTest(std::string_view name, Args& args) {
  const Test test = FindTest(name);
  if (test == nullptr) throw Failure{fmt::format("No test named {}.", Quoted(name))};
  heap_->Tick();
  return test(*this, args);
}

Value Interpreter::Call(const Value& callee, Args& args) {
  switch (callee.type) {
    case Type::kUndefined:
      FailUndefined(callee);
    case Type::kLoop:
      return CallLoop(*callee.loop, args);
    case Type::kCycler:
      if (callee.cycler->is_joiner) {
        args.Bind("joiner", {}, 0);
        return callee.cycler->position++ == 0 ? heap_->View("", kFromTemplate)
                                              : callee.cycler->items[0];
      }
      break;
    case Type::kCallable: {
      const Callable& callable = *callee.callable;
      switch (callable.kind) {
        case Callable::Kind::kMacro:
          return CallMacro(callable, args);
        case Callable::Kind::kMethod:
          return CallMethod(callable.method, callable.self, args);
        case Callable::Kind::kFunction:
          return CallFunction(callable.function, args);
      }
      break;
    }
    default:
      break;
  }
  throw Failure{fmt::format("'{}' object is not callable", TypeName(callee))};
}

namespace {

Value MakeRange(Heap* heap, Args& args) {
  const auto bound = args.Bind("range", {"start", "stop", "step"}, 1);
  for (const auto& value : bound) {
    if (value && !value->is_integer()) {
      throw Failure{
          fmt::format("'{}' object cannot be interpreted as an integer", TypeName(*value))};
    }
  }
  const Int start = bound[1] ? bound[0]->AsInt() : 0;
  const Int stop = bound[1] ? bound[1]->AsInt() : bound[0]->AsInt();
  const Int step = bound[2] ? bound[2]->AsInt() : 1;
  if (step == 0) throw Failure{"range() arg 3 must not be zero"};
  Int span, count = 0;
  bool too_big = __builtin_sub_overflow(step > 0 ? stop : start, step > 0 ? start : stop, &span);
  if (!too_big && span > 0) {
    const Int stride = step > 0                                  ? step
                       : step == std::numeric_limits<Int>::min() ? std::numeric_limits<Int>::max()
                                                                 : -step;
    count = (span - 1) / stride + 1;
    too_big = count > static_cast<Int>(limits::kTemplateRange);
  }
  if (too_big)
    throw Failure{
        fmt::format("Range too big. It may have at most {} items.", limits::kTemplateRange)};
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(count));
  for (Int i = 0, at = start; i < count; ++i) {
    items.push_back(Value::Integer(at));
    if (i + 1 < count) at += step;
  }
  const Value range = heap->List(std::move(items));
  range.seq->kind = Seq::Kind::kRange;
  range.seq->start = start;
  range.seq->stop = stop;
  range.seq->step = step;
  return range;
}

void FillDict(Heap* heap, const Args& args, std::string_view what, Dict* dict) {
  if (args.positional.size() > 1) {
    throw Failure{
        fmt::format("{} expected at most 1 argument, got {}", what, args.positional.size())};
  }
  if (!args.positional.empty()) {
    const Value& from = args.positional[0];
    RequireDefined(from);
    if (from.type == Type::kDict) {
      for (const auto& [key, value] : from.dict->items) heap->Set(dict, key, value);
    } else {
      for (const Value& pair : ItemsOf(heap, from)) {
        const std::vector<Value> items = ItemsOf(heap, pair);
        if (items.size() != 2) throw Failure{fmt::format("{} needs pairs of key and value", what)};
        CheckHashable(items[0]);
        heap->Set(dict, items[0], items[1]);
      }
    }
  }
  for (const auto& [name, value] : args.named)
    heap->Set(dict, heap->View(name, kFromTemplate), value);
}

std::string LocalTime(std::string_view format) {
  if (format.size() > 1024) throw Failure{"strftime_now: the format is longer than 1024 bytes"};
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  std::string out(16384, '\0');
  const std::string padded =
      std::string(format) + ' ';  // so that an empty result is told from one too long
  const size_t size = std::strftime(out.data(), out.size(), padded.c_str(), &parts);
  if (size == 0) throw Failure{"strftime_now: the result is too long"};
  out.resize(size - 1);
  return out;
}

}  // namespace

Value Interpreter::CallFunction(Function function, Args& args) {
  switch (function) {
    case Function::kRange:
      return MakeRange(heap_, args);
    case Function::kDict: {
      Dict* dict = heap_->NewDict();
      FillDict(heap_, args, "dict", dict);
      return Value::Of(dict);
    }
    case Function::kNamespace: {
      Namespace* space = heap_->NewNamespace();
      FillDict(heap_, args, "namespace", &space->dict);
      return Value::Of(space);
    }
    case Function::kCycler:
    case Function::kJoiner: {
      Cycler* cycler = heap_->NewCycler();
      cycler->is_joiner = function == Function::kJoiner;
      if (cycler->is_joiner) {
        const auto bound = args.Bind("joiner", {"sep"}, 0);
        cycler->items.push_back(bound[0] ? *bound[0] : heap_->View(", ", kFromTemplate));
      } else {
        if (!args.named.empty()) throw Failure{"cycler takes no keyword arguments"};
        if (args.positional.empty()) throw Failure{"at least one item has to be provided"};
        cycler->items = args.positional;
      }
      return Value::Of(cycler);
    }
    case Function::kRaise: {
      const auto bound = args.Bind("raise_exception", {"message"}, 1);
      const Value message = ToText(heap_, *bound[0]);
      throw Failure{std::string(heap_->Text(message.text))};
    }
    case Function::kStrftimeNow: {
      const auto bound = args.Bind("strftime_now", {"format"}, 1);
      if (!bound[0]->is_string()) throw Failure{"strftime_now needs a format string"};
      return heap_->String(LocalTime(heap_->Text(bound[0]->text)), kFromOther);
    }
  }
  return Value();
}

}  // namespace planish::jinja
