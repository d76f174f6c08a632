// SPDX-License-Identifier: Apache-2.0
#include "text/jinja_expression_parser.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/limits.h"
#include "text/jinja_filters.h"
#include "text/jinja_predicates.h"

namespace planish::jinja {
namespace {

constexpr int kMaxExprDepth =
    250;  // of one expression's tree; chains such as a + b + c ... lean to one side

}  // namespace

Level::Level(int* depth, int line) : depth_(depth) {
  if (++*depth_ > static_cast<int>(limits::kTemplateNesting)) {
    --*depth_;
    throw Failure{fmt::format("nested deeper than {} levels", limits::kTemplateNesting), line};
  }
}

std::string ExpressionParser::Describe(const Token& token) {
  switch (token.kind) {
    case Kind::kData:
      return "template text";
    case Kind::kVariableBegin:
      return "'{{'";
    case Kind::kVariableEnd:
      return "end of print statement";
    case Kind::kBlockBegin:
      return "'{%'";
    case Kind::kBlockEnd:
      return "end of statement block";
    case Kind::kEnd:
      return "end of template";
    case Kind::kString:
      return "string " + Quoted(token.text, 40);
    default:
      return Quoted(token.text, 40);
  }
}

void ExpressionParser::Fail(std::string message, int line) const {
  throw Failure{std::move(message), line != 0 ? line : Now().line};
}

void ExpressionParser::FailExpected(std::string_view what) const {
  Fail(fmt::format("expected {}, got {}", what, Describe(Now())));
}

void ExpressionParser::ExpectOp(std::string_view op) {
  if (!SkipOp(op)) FailExpected(Quoted(op));
}

void ExpressionParser::ExpectName(std::string_view name) {
  if (!SkipName(name)) FailExpected(Quoted(name));
}

void ExpressionParser::ExpectBlockEnd() {
  if (Now().kind != Kind::kBlockEnd) FailExpected("end of statement block");
  Take();
}

std::string ExpressionParser::TakeName() {
  if (Now().kind != Kind::kName) FailExpected("a name");
  return Take().text;
}

StmtPtr ExpressionParser::NewStmt(Stmt::Kind kind, int line) {
  auto node = std::make_unique<Stmt>();
  node->kind = kind;
  node->line = line;
  return node;
}

ExprPtr ExpressionParser::NewExpr(Expr::Kind kind, int line) {
  auto node = std::make_unique<Expr>();
  node->kind = kind;
  node->line = line;
  return node;
}

ExprPtr ExpressionParser::NewNode(Expr::Kind kind, int line, std::vector<ExprPtr> args) const {
  ExprPtr node = NewExpr(kind, line);
  node->args = std::move(args);
  Measure(node.get());
  return node;
}

void ExpressionParser::Measure(Expr* node) const {
  const auto count = [&](const ExprPtr& child) {
    if (child != nullptr) node->depth = std::max(node->depth, child->depth + 1);
  };
  for (const ExprPtr& arg : node->args) count(arg);
  for (const Keyword& keyword : node->keywords) count(keyword.value);
  count(node->star);
  count(node->double_star);
  if (node->depth > kMaxExprDepth) {
    Fail(fmt::format("expression is nested deeper than {} levels", kMaxExprDepth), node->line);
  }
}

bool ExpressionParser::IsTupleEnd(std::string_view end_word) const {
  return Now().kind == Kind::kVariableEnd || Now().kind == Kind::kBlockEnd || IsOp(")") ||
         (!end_word.empty() && IsName(end_word));
}

ExprPtr ExpressionParser::ParseTuple(bool with_condition, std::string_view end_word,
                                     bool in_parentheses) {
  const int line = Now().line;
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) ExpectOp(",");
    if (IsTupleEnd(end_word)) break;
    items.push_back(with_condition ? ParseExpression() : ParseOr());
    if (!IsOp(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (!is_tuple && !in_parentheses)
    Fail(fmt::format("Expected an expression, got {}", Describe(Now())));
  return NewNode(Expr::Kind::kTuple, line, std::move(items));
}

ExprPtr ExpressionParser::ParseExpression() {
  const Level level(&expr_depth_, Now().line);
  int line = Now().line;
  ExprPtr expr = ParseOr();
  while (SkipName("if")) {
    ++soft_depth_;
    std::vector<ExprPtr> args;
    args.push_back(ParseOr());
    args.push_back(std::move(expr));
    args.push_back(SkipName("else") ? ParseExpression() : nullptr);
    --soft_depth_;
    expr = NewNode(Expr::Kind::kCond, line, std::move(args));
    line = Now().line;
  }
  return expr;
}

ExprPtr ExpressionParser::ParseOr() {
  return ParseLogic("or", Expr::Kind::kOr, &ExpressionParser::ParseAnd);
}

ExprPtr ExpressionParser::ParseAnd() {
  return ParseLogic("and", Expr::Kind::kAnd, &ExpressionParser::ParseNot);
}

ExprPtr ExpressionParser::ParseLogic(std::string_view word, Expr::Kind kind,
                                     ExprPtr (ExpressionParser::*next)()) {
  const int line = Now().line;
  std::vector<ExprPtr> args;
  args.push_back((this->*next)());
  while (SkipName(word)) args.push_back((this->*next)());
  if (args.size() == 1) return std::move(args[0]);
  return NewNode(kind, line, std::move(args));
}

ExprPtr ExpressionParser::ParseNot() {
  if (!IsName("not")) return ParseCompare();
  const Level level(&expr_depth_, Now().line);
  const int line = Take().line;
  return NewNode(Expr::Kind::kNot, line, One(ParseNot()));
}

ExprPtr ExpressionParser::ParseCompare() {
  static constexpr std::pair<std::string_view, CompareOp> kOps[] = {
      {"==", CompareOp::kEq}, {"!=", CompareOp::kNe}, {"<", CompareOp::kLt},
      {"<=", CompareOp::kLe}, {">", CompareOp::kGt},  {">=", CompareOp::kGe}};
  const int line = Now().line;
  std::vector<ExprPtr> args;
  std::vector<CompareOp> ops;
  args.push_back(ParseSum());
  while (true) {
    const auto op = std::find_if(std::begin(kOps), std::end(kOps),
                                 [&](const auto& o) { return IsOp(o.first); });
    if (op != std::end(kOps)) {
      Take();
      ops.push_back(op->second);
    } else if (SkipName("in")) {
      ops.push_back(CompareOp::kIn);
    } else if (IsName("not") && After().kind == Kind::kName && After().text == "in") {
      Take();
      Take();
      ops.push_back(CompareOp::kNotIn);
    } else {
      break;
    }
    args.push_back(ParseSum());
  }
  if (ops.empty()) return std::move(args[0]);
  ExprPtr node = NewNode(Expr::Kind::kCompare, line, std::move(args));
  node->compares = std::move(ops);
  return node;
}

ExprPtr ExpressionParser::ParseBinary(BinaryOps ops, ExprPtr (ExpressionParser::*next)()) {
  int line = Now().line;
  ExprPtr left = (this->*next)();
  while (true) {
    const auto op =
        std::find_if(ops.begin(), ops.end(), [&](const auto& o) { return IsOp(o.first); });
    if (op == ops.end()) return left;
    Take();
    std::vector<ExprPtr> args = One(std::move(left));
    args.push_back((this->*next)());
    left = NewNode(Expr::Kind::kBinary, line, std::move(args));
    left->op = op->second;
    line = Now().line;
  }
}

ExprPtr ExpressionParser::ParseSum() {
  return ParseBinary({{"+", BinaryOp::kAdd}, {"-", BinaryOp::kSub}},
                     &ExpressionParser::ParseConcat);
}

ExprPtr ExpressionParser::ParseConcat() {
  const int line = Now().line;
  std::vector<ExprPtr> args = One(ParseProduct());
  while (SkipOp("~")) args.push_back(ParseProduct());
  if (args.size() == 1) return std::move(args[0]);
  return NewNode(Expr::Kind::kConcat, line, std::move(args));
}

ExprPtr ExpressionParser::ParseProduct() {
  return ParseBinary({{"*", BinaryOp::kMul},
                      {"/", BinaryOp::kDiv},
                      {"//", BinaryOp::kFloorDiv},
                      {"%", BinaryOp::kMod}},
                     &ExpressionParser::ParsePower);
}

ExprPtr ExpressionParser::ParsePower() {
  return ParseBinary({{"**", BinaryOp::kPow}}, &ExpressionParser::ParseUnary);
}

ExprPtr ExpressionParser::ParseUnary() { return ParseSigned(/*with_filters=*/true); }

ExprPtr ExpressionParser::ParseSigned(bool with_filters) {
  const int line = Now().line;
  ExprPtr node;
  if (IsOp("-") || IsOp("+")) {
    const Level level(&expr_depth_, line);
    const Expr::Kind kind = Take().text == "-" ? Expr::Kind::kNeg : Expr::Kind::kPos;
    node = NewNode(kind, line, One(ParseSigned(/*with_filters=*/false)));
  } else {
    node = ParsePrimary(/*with_namespace=*/false);
  }
  node = ParsePostfix(std::move(node));
  return with_filters ? ParseFiltersAndTests(std::move(node)) : std::move(node);
}

ExprPtr ExpressionParser::ParsePrimary(bool with_namespace) {
  const Token& token = Now();
  switch (token.kind) {
    case Kind::kName:
      return ParseName(with_namespace);
    case Kind::kString: {
      ExprPtr node = NewExpr(Expr::Kind::kString, token.line);
      while (Now().kind == Kind::kString) node->name += Take().text;
      return node;
    }
    case Kind::kInteger:
    case Kind::kFloat: {
      ExprPtr node = NewExpr(Expr::Kind::kConst, token.line);
      node->constant = token.kind == Kind::kInteger ? Value::Integer(token.integer, kFromTemplate)
                                                    : Value::Float(token.number, kFromTemplate);
      Take();
      return node;
    }
    default:
      break;
  }
  if (SkipOp("(")) {
    ExprPtr node = ParseTuple(/*with_condition=*/true, {}, /*in_parentheses=*/true);
    ExpectOp(")");
    return node;
  }
  const int line = token.line;
  if (SkipOp("[")) return NewNode(Expr::Kind::kList, line, ParseItems("]", /*pairs=*/false));
  if (SkipOp("{")) return NewNode(Expr::Kind::kDict, line, ParseItems("}", /*pairs=*/true));
  Fail(fmt::format("unexpected {}", Describe(token)));
}

ExprPtr ExpressionParser::ParseName(bool with_namespace) {
  const Token& token = Take();
  const std::string& name = token.text;
  const bool is_true = name == "true" || name == "True", is_none = name == "none" || name == "None";
  if (is_true || is_none || name == "false" || name == "False") {
    ExprPtr node = NewExpr(Expr::Kind::kConst, token.line);
    node->constant = is_none ? Value::None(kFromTemplate) : Value::Bool(is_true, kFromTemplate);
    return node;
  }
  ExprPtr node = NewExpr(Expr::Kind::kName, token.line);
  node->name = name;
  node->symbol = template_->Symbol(name);
  for (Stmt* function : functions_) {
    if (node->symbol == kCallerSymbol) function->uses_caller = true;
    if (node->symbol == kVarargsSymbol) function->uses_varargs = true;
    if (node->symbol == kKwargsSymbol) function->uses_kwargs = true;
  }
  if (!with_namespace || !SkipOp(".")) return node;
  ExprPtr target = NewNode(Expr::Kind::kAttr, token.line, One(std::move(node)));
  target->name = TakeName();
  target->is_namespace_target = true;
  return target;
}

std::vector<ExprPtr> ExpressionParser::ParseItems(std::string_view close, bool pairs) {
  std::vector<ExprPtr> items;
  while (!IsOp(close)) {
    if (!items.empty()) ExpectOp(",");
    if (IsOp(close)) break;
    items.push_back(ParseExpression());
    if (!pairs) continue;
    ExpectOp(":");
    items.push_back(ParseExpression());
  }
  Take();
  return items;
}

ExprPtr ExpressionParser::ParsePostfix(ExprPtr node) {
  while (true) {
    const int line = Now().line;
    if (SkipOp(".")) {
      const Token& token = Take();
      if (token.kind == Kind::kName) {
        node = NewNode(Expr::Kind::kAttr, line, One(std::move(node)));
        node->name = token.text;
      } else if (token.kind == Kind::kInteger) {
        std::vector<ExprPtr> args = One(std::move(node));
        args.push_back(NewExpr(Expr::Kind::kConst, token.line));
        args.back()->constant = Value::Integer(token.integer, kFromTemplate);
        node = NewNode(Expr::Kind::kItem, line, std::move(args));
      } else {
        Fail("expected name or number", token.line);
      }
    } else if (SkipOp("[")) {
      node = ParseSubscript(std::move(node), line);
    } else if (IsOp("(")) {
      node = ParseCall(Expr::Kind::kCall, std::move(node), line);
    } else {
      return node;
    }
  }
}

ExprPtr ExpressionParser::ParseSubscript(ExprPtr object, int line) {
  std::vector<ExprPtr> args = One(std::move(object));
  std::vector<ExprPtr> subscripts;
  ExprPtr bounds[3];
  bool is_slice = false;
  while (!IsOp("]")) {
    if (!subscripts.empty()) ExpectOp(",");
    if (is_slice) Fail("slices of several dimensions are not supported", line);
    ExprPtr first = IsOp(":") ? nullptr : ParseExpression();
    if (SkipOp(":")) {
      is_slice = true;
      bounds[0] = std::move(first);
      if (!IsOp(":") && !IsOp("]") && !IsOp(",")) bounds[1] = ParseExpression();
      if (SkipOp(":") && !IsOp("]") && !IsOp(",")) bounds[2] = ParseExpression();
      if (!subscripts.empty() || IsOp(","))
        Fail("slices of several dimensions are not supported", line);
    } else {
      subscripts.push_back(std::move(first));
    }
  }
  Take();
  if (is_slice) {
    for (ExprPtr& bound : bounds) args.push_back(std::move(bound));
    return NewNode(Expr::Kind::kSlice, line, std::move(args));
  }
  args.push_back(subscripts.size() == 1 ? std::move(subscripts[0])
                                        : NewNode(Expr::Kind::kTuple, line, std::move(subscripts)));
  return NewNode(Expr::Kind::kItem, line, std::move(args));
}

ExprPtr ExpressionParser::ParseCall(Expr::Kind kind, ExprPtr head, int line) {
  ExprPtr node = NewExpr(kind, line);
  node->args.push_back(std::move(head));
  ParseArguments(node.get());
  Measure(node.get());
  return node;
}

void ExpressionParser::ParseArguments(Expr* node) {
  const int line = Now().line;
  const auto ensure = [&](bool ok) {
    if (!ok) Fail("invalid syntax for function call expression", line);
  };
  ExpectOp("(");
  bool is_first = true;
  while (!IsOp(")")) {
    if (!is_first) {
      ExpectOp(",");
      if (IsOp(")")) break;
    }
    is_first = false;
    if (SkipOp("*")) {
      ensure(node->star == nullptr && node->double_star == nullptr);
      node->star = ParseExpression();
    } else if (SkipOp("**")) {
      ensure(node->double_star == nullptr);
      node->double_star = ParseExpression();
    } else if (Now().kind == Kind::kName && After().kind == Kind::kOperator &&
               After().text == "=") {
      ensure(node->double_star == nullptr);
      std::string name = Take().text;
      Take();
      for (const Keyword& other : node->keywords) {
        if (other.name == name) Fail(fmt::format("keyword argument repeated: {}", name), line);
      }
      node->keywords.push_back({std::move(name), ParseExpression()});
    } else {
      ensure(node->star == nullptr && node->double_star == nullptr && node->keywords.empty());
      node->args.push_back(ParseExpression());
    }
  }
  Take();
}

ExprPtr ExpressionParser::ParseFiltersAndTests(ExprPtr node) {
  while (true) {
    if (IsOp("|")) {
      node = ParseFilters(std::move(node), /*first_is_named=*/false);
    } else if (IsName("is")) {
      node = ParseTest(std::move(node));
    } else if (IsOp("(")) {
      node = ParseCall(Expr::Kind::kCall, std::move(node), Now().line);
    } else {
      return node;
    }
  }
}

std::string ExpressionParser::TakeDottedName() {
  std::string name = TakeName();
  while (SkipOp(".")) name += "." + TakeName();
  return name;
}

ExprPtr ExpressionParser::ParseFilters(ExprPtr node, bool first_is_named) {
  while (first_is_named || SkipOp("|")) {
    first_is_named = false;
    const int line = Now().line;
    ExprPtr filter = NewExpr(Expr::Kind::kFilter, line);
    filter->name = TakeDottedName();
    filter->args.push_back(std::move(node));
    if (IsOp("(")) ParseArguments(filter.get());
    filter->filter = FindFilter(filter->name);
    // As jinja2: inside {% if %} templates may probe for filters they do not reach.
    if (filter->filter == nullptr && soft_depth_ == 0) {
      Fail(fmt::format("No filter named {}.", Quoted(filter->name)), line);
    }
    Measure(filter.get());
    node = std::move(filter);
  }
  return node;
}

ExprPtr ExpressionParser::ParseTest(ExprPtr node) {
  const int line = Take().line;
  const bool is_negated = SkipName("not");
  ExprPtr test = NewExpr(Expr::Kind::kTest, line);
  test->name = TakeDottedName();
  test->args.push_back(std::move(node));
  const Kind kind = Now().kind;
  if (IsOp("(")) {
    ParseArguments(test.get());
  } else if ((kind == Kind::kName || kind == Kind::kString || kind == Kind::kInteger ||
              kind == Kind::kFloat || IsOp("[") || IsOp("{")) &&
             !IsName("else") && !IsName("or") && !IsName("and")) {
    if (IsName("is")) Fail("You cannot chain multiple tests with is");
    test->args.push_back(ParsePostfix(ParsePrimary(/*with_namespace=*/false)));
  }
  test->test = FindTest(test->name);
  if (test->test == nullptr && soft_depth_ == 0)
    Fail(fmt::format("No test named {}.", Quoted(test->name)), line);
  Measure(test.get());
  return is_negated ? NewNode(Expr::Kind::kNot, line, One(std::move(test))) : std::move(test);
}

}  // namespace planish::jinja
