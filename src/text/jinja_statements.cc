// SPDX-License-Identifier: Apache-2.0
// Statements: what each {% tag %} does, and which of them open a scope (for, macro, call, filter,
// with, set blocks; not if).
#include <fmt/format.h>

#include "base/error.h"
#include "base/limits.h"
#include "text/jinja_depth.h"
#include "text/jinja_interpreter.h"

namespace planish::jinja {

void Interpreter::SetVariable(const std::string& name, const Value& value) {
  // A name the template never mentions cannot be read by it.
  const auto found = template_.symbols.find(name);
  if (found != template_.symbols.end()) root_->Set(found->second, value);
}

void Interpreter::Run(TextBuilder* out) { Exec(template_.body, root_, out); }

Interpreter::Flow Interpreter::Exec(const Body& body, Scope* scope, TextBuilder* out) {
  for (const StmtPtr& stmt : body) {
    const Flow flow = ExecOne(*stmt, scope, out);
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::ExecOne(const Stmt& stmt, Scope* scope, TextBuilder* out) {
  const DepthGuard guard(this);
  heap_->Tick();
  line_ = stmt.line;
  switch (stmt.kind) {
    case Stmt::Kind::kOutput:
      Output(stmt, scope, out);
      break;
    case Stmt::Kind::kSet:
      Assign(*stmt.target, Eval(*stmt.exprs[0], scope), scope);
      break;
    case Stmt::Kind::kSetBlock:
      return SetBlock(stmt, scope, out);
    case Stmt::Kind::kIf:
      return If(stmt, scope, out);
    case Stmt::Kind::kFor:
      return For(stmt, scope, out);
    case Stmt::Kind::kMacro:
      DefineMacro(stmt, scope);
      break;
    case Stmt::Kind::kCallBlock:
      CallBlock(stmt, scope, out);
      break;
    case Stmt::Kind::kFilterBlock:
      return FilterBlock(stmt, scope, out);
    case Stmt::Kind::kWith:
      return With(stmt, scope, out);
    case Stmt::Kind::kGeneration:
      Generation(stmt, scope, out);
      break;
    case Stmt::Kind::kBlock:
      Exec(stmt.bodies[0], heap_->NewScope(root_), out);
      break;
    case Stmt::Kind::kBreak:
      return Flow::kBreak;
    case Stmt::Kind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNormal;
}

void Interpreter::Output(const Stmt& stmt, Scope* scope, TextBuilder* out) {
  for (const ExprPtr& expr : stmt.exprs) {
    if (expr->kind == Expr::Kind::kString) {
      heap_->Tick();
      line_ = expr->line;
      out->Append(expr->name, kFromTemplate);
    } else {
      AppendText(Eval(*expr, scope), out);
    }
  }
}

Interpreter::Flow Interpreter::If(const Stmt& stmt, Scope* scope, TextBuilder* out) {
  for (size_t i = 0; i < stmt.exprs.size(); ++i) {
    if (IsTrue(Eval(*stmt.exprs[i], scope))) return Exec(stmt.bodies[i], scope, out);
  }
  if (stmt.bodies.size() > stmt.exprs.size()) return Exec(stmt.bodies.back(), scope, out);
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::For(const Stmt& stmt, Scope* scope, TextBuilder* out) {
  return RunLoop(stmt, Eval(*stmt.exprs[0], scope), /*depth0=*/0, scope, out);
}

Interpreter::Flow Interpreter::RunLoop(const Stmt& stmt, const Value& iterable, int depth0,
                                       Scope* scope, TextBuilder* out) {
  line_ = stmt.line;
  // A list cannot change while the loop runs, and like any other value it outlives the loop (a
  // macro defined in the body may look at `loop` later); everything else becomes a list first.
  const bool is_list = iterable.type == Type::kSeq && !iterable.seq->is_iterator();
  Value list = is_list ? iterable : heap_->List(ItemsOf(heap_, iterable));
  if (stmt.exprs[1] != nullptr) {
    Scope* inner = heap_->NewScope(scope);
    std::vector<Value> kept;
    for (const Value& item : list.seq->items) {
      heap_->Tick();
      inner->variables.clear();
      Assign(*stmt.target, item, inner);
      if (IsTrue(Eval(*stmt.exprs[1], inner))) kept.push_back(item);
    }
    list = heap_->List(std::move(kept));
  }
  if (list.seq->items.empty()) {
    if (stmt.bodies.size() < 2) return Flow::kNormal;
    return Exec(stmt.bodies[1], heap_->NewScope(scope), out);
  }
  Loop* loop = heap_->NewLoop();
  loop->items = &list.seq->items;
  loop->depth0 = depth0;
  loop->statement = &stmt;
  loop->outer = scope;
  // One scope for all rounds, emptied for each, is what jinja2's compiled Python function amounts
  // to.
  Scope* inner = heap_->NewScope(scope);
  for (size_t i = 0; i < loop->items->size(); ++i) {
    heap_->Tick();
    line_ = stmt.line;
    loop->index0 = i;
    inner->variables.clear();
    inner->Set(kLoopSymbol, Value::Of(loop));
    Assign(*stmt.target, (*loop->items)[i], inner);
    if (Exec(stmt.bodies[0], inner, out) == Flow::kBreak) break;
  }
  return Flow::kNormal;
}

Value Interpreter::CallLoop(const Loop& loop, Args& args) {
  if (!loop.statement->is_recursive) {
    throw Failure{"The loop must have the 'recursive' marker to be called recursively."};
  }
  const auto bound = args.Bind("loop", {"iterable"}, 1);
  const DepthGuard guard(this);
  TextBuilder out(heap_);
  RunLoop(*loop.statement, *bound[0], loop.depth0 + 1, loop.outer, &out);
  return out.Finish();
}

void Interpreter::DefineMacro(const Stmt& stmt, Scope* scope) {
  Callable* macro = heap_->NewCallable(Callable::Kind::kMacro);
  macro->macro = &stmt;
  macro->scope = scope;
  scope->Set(stmt.symbol, Value::Of(macro));
}

Value Interpreter::CallMacro(const Callable& callable, Args& args) {
  const DepthGuard guard(this);
  const Stmt& macro = *callable.macro;
  const std::string name = macro.name.empty() ? "None" : Quoted(macro.name);
  const size_t count = macro.params.size();
  Scope* scope = heap_->NewScope(callable.scope);
  std::vector<bool> used(args.named.size(), false);
  const auto take_named = [&](std::string_view wanted) -> const Value* {
    for (size_t i = 0; i < args.named.size(); ++i) {
      if (args.named[i].first == wanted && !used[i]) {
        used[i] = true;
        return &args.named[i].second;
      }
    }
    return nullptr;
  };
  bool has_own_caller = false;
  for (size_t i = 0; i < count; ++i) {
    has_own_caller |= macro.params[i] == kCallerSymbol;
    const Value* given =
        i < args.positional.size() ? &args.positional[i] : take_named(macro.param_names[i]);
    const size_t first_default = count - macro.defaults.size();
    if (given != nullptr) {
      scope->Set(macro.params[i], *given);
    } else if (i >= first_default) {
      scope->Set(macro.params[i], Eval(*macro.defaults[i - first_default], scope));
    } else {
      scope->Set(macro.params[i], heap_->Undefined(fmt::format("parameter {} was not provided",
                                                               Quoted(macro.param_names[i]))));
    }
  }
  if (macro.uses_caller && !has_own_caller) {
    const Value* caller = take_named("caller");
    scope->Set(kCallerSymbol, caller != nullptr ? *caller : heap_->Undefined("No caller defined"));
  }
  if (macro.uses_kwargs) {
    Dict* rest = heap_->NewDict();
    for (size_t i = 0; i < args.named.size(); ++i) {
      if (!used[i])
        heap_->Set(rest, heap_->View(args.named[i].first, kFromTemplate), args.named[i].second);
    }
    scope->Set(kKwargsSymbol, Value::Of(rest));
  } else {
    for (size_t i = 0; i < args.named.size(); ++i) {
      if (used[i]) continue;
      throw Failure{
          fmt::format("macro {} takes no keyword argument {}", name, Quoted(args.named[i].first))};
    }
  }
  if (macro.uses_varargs) {
    std::vector<Value> rest;
    for (size_t i = count; i < args.positional.size(); ++i) rest.push_back(args.positional[i]);
    scope->Set(kVarargsSymbol, heap_->Tuple(std::move(rest)));
  } else if (args.positional.size() > count) {
    throw Failure{fmt::format("macro {} takes not more than {} argument(s)", name, count)};
  }
  TextBuilder out(heap_);
  Exec(macro.bodies[0], scope, &out);
  return out.Finish();
}

void Interpreter::CallBlock(const Stmt& stmt, Scope* scope, TextBuilder* out) {
  Callable* caller = heap_->NewCallable(Callable::Kind::kMacro);
  caller->macro = &stmt;
  caller->scope = scope;
  const Value value = Value::Of(caller);
  AppendText(EvalCall(*stmt.exprs[0], scope, &value), out);
}

Interpreter::Flow Interpreter::SetBlock(const Stmt& stmt, Scope* scope, TextBuilder*) {
  TextBuilder text(heap_);
  const Flow flow = Exec(stmt.bodies[0], heap_->NewScope(scope), &text);
  if (flow != Flow::kNormal) return flow;
  Value value = text.Finish();
  line_ = stmt.line;
  if (stmt.filter != nullptr) value = EvalFilter(*stmt.filter, scope, &value);
  Assign(*stmt.target, value, scope);
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::FilterBlock(const Stmt& stmt, Scope* scope, TextBuilder* out) {
  Scope* inner = heap_->NewScope(scope);
  TextBuilder text(heap_);
  const Flow flow = Exec(stmt.bodies[0], inner, &text);
  if (flow != Flow::kNormal) return flow;
  const Value value = text.Finish();
  AppendText(EvalFilter(*stmt.exprs[0], inner, &value), out);
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::With(const Stmt& stmt, Scope* scope, TextBuilder* out) {
  Scope* inner = heap_->NewScope(scope);
  for (size_t i = 0; i < stmt.targets.size(); ++i) {
    Assign(*stmt.targets[i], Eval(*stmt.exprs[i], scope), inner);
  }
  return Exec(stmt.bodies[0], inner, out);
}

void Interpreter::Generation(const Stmt& stmt, Scope* scope, TextBuilder* out) {
  TextBuilder text(heap_);
  Exec(stmt.bodies[0], heap_->NewScope(scope), &text);
  out->Append(text.Finish().text, kGenerationBit);
}

void Interpreter::Assign(const Expr& target, const Value& value, Scope* scope) {
  switch (target.kind) {
    case Expr::Kind::kName:
      scope->Set(target.symbol, value);
      return;
    case Expr::Kind::kAttr: {
      const Value object = EvalName(*target.args[0], scope);
      line_ = target.line;
      if (object.type != Type::kNamespace)
        throw Failure{"cannot assign attribute on non-namespace object"};
      heap_->Set(&object.space->dict, heap_->View(target.name, kFromTemplate), value);
      return;
    }
    default: {
      line_ = target.line;
      if (!IsIterable(value))
        throw Failure{fmt::format("cannot unpack non-iterable {} object", TypeName(value))};
      const std::vector<Value> items = ItemsOf(heap_, value);
      const size_t want = target.args.size();
      if (items.size() < want) {
        throw Failure{
            fmt::format("not enough values to unpack (expected {}, got {})", want, items.size())};
      }
      if (items.size() > want)
        throw Failure{fmt::format("too many values to unpack (expected {})", want)};
      for (size_t i = 0; i < want; ++i) Assign(*target.args[i], items[i], scope);
    }
  }
}

}  // namespace planish::jinja
