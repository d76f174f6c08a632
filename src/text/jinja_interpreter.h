// SPDX-License-Identifier: Apache-2.0
// Runs a parsed Jinja template: statements write to a TextBuilder, expressions give Values. One
// Interpreter renders once. Its parts live in several files by topic: jinja_statements,
// jinja_expressions (evaluation and calls), jinja_access (attributes, items, slices),
// jinja_operators (arithmetic); text forms of values are in jinja_print.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_string.h"
#include "text/jinja_value.h"

namespace planish::jinja {

// Arguments of a call. For filters and tests positional[0] is what they are applied to.
struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;

  // Puts arguments in the order of `names` as a Python call would; what was not given stays empty.
  // Failure for too many, unknown or doubled ones, and if fewer than `required` are given. `what`
  // names the callee in messages.
  std::vector<std::optional<Value>> Bind(std::string_view what,
                                         std::initializer_list<const char*> names,
                                         size_t required) const;
};

class Interpreter {
 public:
  Interpreter(const Template& source, Heap* heap)
      : template_(source), heap_(heap), root_(heap->NewScope(nullptr)) {}

  void SetVariable(const std::string& name, const Value& value);
  void Run(TextBuilder* out);
  int line() const { return line_; }  // of what was being evaluated last, for error messages

  Heap* heap() { return heap_; }
  Value GetAttr(const Value& object, std::string_view name);
  Value GetItem(const Value& object, const Value& key);
  Value GetSlice(const Value& object, const Value& start, const Value& stop, const Value& step);
  Value Binary(BinaryOp op, const Value& a, const Value& b);
  Value Negate(const Value& value);
  bool CompareValues(CompareOp op, const Value& a, const Value& b);
  Value Call(const Value& callee, Args& args);
  Value ApplyFilter(std::string_view name, Args& args);
  bool ApplyTest(std::string_view name, Args& args);
  Value CallMethod(Method method, const Value& self, Args& args);

 private:
  enum class Flow { kNormal, kBreak, kContinue };
  class DepthGuard;

  Flow Exec(const Body& body, Scope* scope, TextBuilder* out);
  Flow ExecOne(const Stmt& stmt, Scope* scope, TextBuilder* out);
  void Output(const Stmt& stmt, Scope* scope, TextBuilder* out);
  Flow If(const Stmt& stmt, Scope* scope, TextBuilder* out);
  Flow For(const Stmt& stmt, Scope* scope, TextBuilder* out);
  Flow RunLoop(const Stmt& stmt, const Value& iterable, int depth0, Scope* scope, TextBuilder* out);
  void DefineMacro(const Stmt& stmt, Scope* scope);
  Flow SetBlock(const Stmt& stmt, Scope* scope, TextBuilder* out);
  void CallBlock(const Stmt& stmt, Scope* scope, TextBuilder* out);
  Flow FilterBlock(const Stmt& stmt, Scope* scope, TextBuilder* out);
  Flow With(const Stmt& stmt, Scope* scope, TextBuilder* out);
  void Generation(const Stmt& stmt, Scope* scope, TextBuilder* out);
  void Assign(const Expr& target, const Value& value, Scope* scope);

  Value Eval(const Expr& expr, Scope* scope);
  Value EvalName(const Expr& expr, Scope* scope);
  Value EvalDisplay(const Expr& expr, Scope* scope);  // tuple, list, dict
  Value EvalLogic(const Expr& expr, Scope* scope);
  Value EvalCompare(const Expr& expr, Scope* scope);
  Value EvalConcat(const Expr& expr, Scope* scope);
  Value EvalSlice(const Expr& expr, Scope* scope);
  Value EvalCall(const Expr& expr, Scope* scope, const Value* caller);
  Value EvalFilter(const Expr& expr, Scope* scope, const Value* input);
  Value EvalTest(const Expr& expr, Scope* scope);
  void EvalArgs(const Expr& expr, Scope* scope, Args* args);
  Value CallMacro(const Callable& callable, Args& args);
  Value CallFunction(Function function, Args& args);
  Value CallLoop(const Loop& loop, Args& args);

  const Template& template_;
  Heap* heap_;
  Scope* root_;
  int line_ = 0;
  uint64_t depth_ = 0;
};

// str(value) with origins; fails for nothing but limits.
Value ToText(Heap* heap, const Value& value);
void AppendText(const Value& value, TextBuilder* out, OriginId also = 0);
// repr(value)
void AppendRepr(const Value& value, TextBuilder* out, int depth = 0);
std::string FloatText(double value);  // repr(float)

struct JsonForm {
  bool ensure_ascii = false, sort_keys = false;
  std::optional<std::string> indent;  // one level
  std::string item_separator = ", ", key_separator = ": ";
};
// json.dumps; Failure for what JSON cannot hold.
void AppendJson(const Value& value, const JsonForm& form, TextBuilder* out, int depth = 0);

// "%s" formatting: format % values, where values is a tuple, a dict, or one value.
Value PercentFormat(Heap* heap, Str* format, const Value& values);
// str.format.
Value BraceFormat(Interpreter& interpreter, Str* format, Args& args);

}  // namespace planish::jinja
