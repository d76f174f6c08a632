// SPDX-License-Identifier: Apache-2.0
#include "text/jinja_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/limits.h"
#include "text/jinja_filters.h"
#include "text/jinja_lexer.h"
#include "text/jinja_predicates.h"

namespace planish::jinja {
namespace {

using Kind = Token::Kind;
using Words = std::initializer_list<std::string_view>;

constexpr int kMaxExprDepth = 250;  // of one expression's tree; chains such as a + b + c ... lean to one side

// Counts one level of nesting for as long as it lives.
class Level {
 public:
  Level(int* depth, int line) : depth_(depth) {
    if (++*depth_ > static_cast<int>(limits::kTemplateNesting)) {
      throw Failure{fmt::format("nested deeper than {} levels", limits::kTemplateNesting), line};
    }
  }
  ~Level() { --*depth_; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

 private:
  int* depth_;
};

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {
    for (const char* name : {"loop", "caller", "varargs", "kwargs"}) template_->Symbol(name);
  }

  std::unique_ptr<const Template> Run() {
    template_->body = ParseBody({});
    return std::move(template_);
  }

 private:
  // ---- tokens
  const Token& Now() const { return tokens_[at_]; }
  const Token& After() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& Take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool IsOp(std::string_view op) const { return Now().kind == Kind::kOperator && Now().text == op; }
  bool IsName(std::string_view name) const { return Now().kind == Kind::kName && Now().text == name; }
  bool SkipOp(std::string_view op) { return IsOp(op) && (Take(), true); }
  bool SkipName(std::string_view name) { return IsName(name) && (Take(), true); }

  static std::string Describe(const Token& token) {
    switch (token.kind) {
      case Kind::kData: return "template text";
      case Kind::kVariableBegin: return "'{{'";
      case Kind::kVariableEnd: return "end of print statement";
      case Kind::kBlockBegin: return "'{%'";
      case Kind::kBlockEnd: return "end of statement block";
      case Kind::kEnd: return "end of template";
      case Kind::kString: return "string " + Quoted(token.text, 40);
      default: return Quoted(token.text, 40);
    }
  }
  [[noreturn]] void Fail(std::string message, int line = 0) const {
    throw Failure{std::move(message), line != 0 ? line : Now().line};
  }
  [[noreturn]] void FailExpected(std::string_view what) const {
    Fail(fmt::format("expected {}, got {}", what, Describe(Now())));
  }
  void ExpectOp(std::string_view op) {
    if (!SkipOp(op)) FailExpected(Quoted(op));
  }
  void ExpectName(std::string_view name) {
    if (!SkipName(name)) FailExpected(Quoted(name));
  }
  void ExpectBlockEnd() {
    if (Now().kind != Kind::kBlockEnd) FailExpected("end of statement block");
    Take();
  }
  std::string TakeName() {
    if (Now().kind != Kind::kName) FailExpected("a name");
    return Take().text;
  }

  // ---- statements
  // Until a block that begins with one of `ends` (whose name is then Now()), or the end of the template if there are none.
  Body ParseBody(Words ends) {
    const Level level(&block_depth_, Now().line);
    Body body;
    Stmt* output = nullptr;  // gathers neighbouring data and {{ }}
    const auto add_output = [&](ExprPtr expr) {
      if (output == nullptr) {
        body.push_back(NewStmt(Stmt::Kind::kOutput, expr->line));
        output = body.back().get();
      }
      output->exprs.push_back(std::move(expr));
    };
    while (true) {
      const Token& token = Now();
      switch (token.kind) {
        case Kind::kData: {
          ExprPtr data = NewExpr(Expr::Kind::kString, token.line);
          data->name = token.text;
          Take();
          add_output(std::move(data));
          break;
        }
        case Kind::kVariableBegin:
          Take();
          add_output(ParseTuple());
          if (Now().kind != Kind::kVariableEnd) FailExpected("end of print statement");
          Take();
          break;
        case Kind::kBlockBegin: {
          Take();
          if (std::any_of(ends.begin(), ends.end(), [&](std::string_view w) { return IsName(w); })) return body;
          output = nullptr;
          StmtPtr statement = ParseStatement();
          ExpectBlockEnd();
          body.push_back(std::move(statement));
          break;
        }
        default:
          if (ends.size() > 0) {
            Fail(fmt::format("unexpected end of template, expected {{% {} %}}", fmt::join(ends, " or ")));
          }
          return body;
      }
    }
  }

  // The body of a block statement whose tag still has to close; eats the end word if `eat_end`.
  Body ParseBlock(Words ends, bool eat_end = true) {
    SkipOp(":");
    ExpectBlockEnd();
    Body body = ParseBody(ends);
    if (eat_end) Take();
    return body;
  }

  StmtPtr ParseStatement() {
    if (Now().kind != Kind::kName) Fail("tag name expected");
    const int line = Now().line;
    const std::string tag = Now().text;
    if (tag == "set") return ParseSet();
    if (tag == "if") return ParseIf();
    if (tag == "for") return ParseFor();
    if (tag == "macro") return ParseMacro();
    if (tag == "call") return ParseCallBlock();
    if (tag == "filter") return ParseFilterBlock();
    if (tag == "with") return ParseWith();
    if (tag == "generation") return ParseGeneration();
    if (tag == "block") return ParseNamedBlock();
    if (tag == "print") return ParsePrint();
    if (tag == "break" || tag == "continue") {
      Take();
      if (loop_depth_ == 0) Fail(fmt::format("'{}' outside loop", tag), line);
      return NewStmt(tag == "break" ? Stmt::Kind::kBreak : Stmt::Kind::kContinue, line);
    }
    if (tag == "include" || tag == "import" || tag == "extends" || tag == "from" || tag == "autoescape") {
      Fail(fmt::format("{{% {} %}} is not supported in chat templates", tag));
    }
    Fail(fmt::format("Encountered unknown tag {}", Quoted(tag, 40)));
  }

  StmtPtr ParseSet() {
    StmtPtr node = NewStmt(Stmt::Kind::kSet, Take().line);
    node->target = ParseTarget(/*with_namespace=*/true);
    if (SkipOp("=")) {
      node->exprs.push_back(ParseTuple());
      return node;
    }
    node->kind = Stmt::Kind::kSetBlock;
    node->filter = ParseFilters(nullptr, /*first_is_named=*/false);
    node->bodies.push_back(ParseBlock({"endset"}));
    return node;
  }

  StmtPtr ParseIf() {
    StmtPtr node = NewStmt(Stmt::Kind::kIf, Take().line);
    ++soft_depth_;
    while (true) {
      node->exprs.push_back(ParseTuple(/*with_condition=*/false));
      node->bodies.push_back(ParseBlock({"elif", "else", "endif"}, /*eat_end=*/false));
      const std::string word = Take().text;
      if (word == "elif") continue;
      if (word == "else") node->bodies.push_back(ParseBlock({"endif"}));
      --soft_depth_;
      return node;
    }
  }

  StmtPtr ParseFor() {
    StmtPtr node = NewStmt(Stmt::Kind::kFor, Take().line);
    node->target = ParseTarget(/*with_namespace=*/false, "in");
    if (SetsLoop(*node->target)) Fail("Can't assign to special loop variable in for-loop target", node->line);
    ExpectName("in");
    node->exprs.push_back(ParseTuple(/*with_condition=*/false, "recursive"));
    node->exprs.push_back(SkipName("if") ? ParseExpression() : nullptr);
    node->is_recursive = SkipName("recursive");
    ++loop_depth_;
    node->bodies.push_back(ParseBlock({"endfor", "else"}, /*eat_end=*/false));
    --loop_depth_;
    if (Take().text == "else") node->bodies.push_back(ParseBlock({"endfor"}));
    return node;
  }

  static bool SetsLoop(const Expr& target) {
    if (target.kind == Expr::Kind::kName) return target.symbol == kLoopSymbol;
    return target.kind == Expr::Kind::kTuple &&
           std::any_of(target.args.begin(), target.args.end(), [](const ExprPtr& e) { return SetsLoop(*e); });
  }

  void ParseParams(Stmt* node) {
    ExpectOp("(");
    while (!IsOp(")")) {
      if (!node->params.empty()) ExpectOp(",");
      node->param_names.push_back(TakeName());
      node->params.push_back(template_->Symbol(node->param_names.back()));
      if (SkipOp("=")) {
        node->defaults.push_back(ParseExpression());
      } else if (!node->defaults.empty()) {
        Fail("non-default argument follows default argument");
      }
    }
    Take();
  }

  // The body of a macro or call block: a function of its own, so outer loops cannot be left from inside.
  void ParseFunctionBody(Stmt* node, Words ends) {
    const int outer_loops = std::exchange(loop_depth_, 0);
    functions_.push_back(node);
    node->bodies.push_back(ParseBlock(ends));
    functions_.pop_back();
    loop_depth_ = outer_loops;
  }

  StmtPtr ParseMacro() {
    StmtPtr node = NewStmt(Stmt::Kind::kMacro, Take().line);
    node->name = TakeName();
    node->symbol = template_->Symbol(node->name);
    ParseParams(node.get());
    ParseFunctionBody(node.get(), {"endmacro"});
    return node;
  }

  StmtPtr ParseCallBlock() {
    StmtPtr node = NewStmt(Stmt::Kind::kCallBlock, Take().line);
    if (IsOp("(")) ParseParams(node.get());
    node->exprs.push_back(ParseExpression());
    if (node->exprs[0]->kind != Expr::Kind::kCall) Fail("expected call", node->line);
    ParseFunctionBody(node.get(), {"endcall"});
    return node;
  }

  StmtPtr ParseFilterBlock() {
    StmtPtr node = NewStmt(Stmt::Kind::kFilterBlock, Take().line);
    node->exprs.push_back(ParseFilters(nullptr, /*first_is_named=*/true));
    node->bodies.push_back(ParseBlock({"endfilter"}));
    return node;
  }

  StmtPtr ParseWith() {
    StmtPtr node = NewStmt(Stmt::Kind::kWith, Take().line);
    while (Now().kind != Kind::kBlockEnd && !IsOp(":")) {
      if (!node->targets.empty()) ExpectOp(",");
      node->targets.push_back(ParseTarget(/*with_namespace=*/false));
      ExpectOp("=");
      node->exprs.push_back(ParseExpression());
    }
    node->bodies.push_back(ParseBlock({"endwith"}));
    return node;
  }

  StmtPtr ParseGeneration() {
    StmtPtr node = NewStmt(Stmt::Kind::kGeneration, Take().line);
    const int outer_loops = std::exchange(loop_depth_, 0);
    node->bodies.push_back(ParseBlock({"endgeneration"}));
    loop_depth_ = outer_loops;
    return node;
  }

  StmtPtr ParseNamedBlock() {
    StmtPtr node = NewStmt(Stmt::Kind::kBlock, Take().line);
    node->name = TakeName();
    SkipName("scoped");
    SkipName("required");
    if (!block_names_.insert(node->name).second) Fail(fmt::format("block {} defined twice", Quoted(node->name)));
    const int outer_loops = std::exchange(loop_depth_, 0);
    node->bodies.push_back(ParseBlock({"endblock"}));
    loop_depth_ = outer_loops;
    SkipName(node->name);
    return node;
  }

  StmtPtr ParsePrint() {
    StmtPtr node = NewStmt(Stmt::Kind::kOutput, Take().line);
    while (Now().kind != Kind::kBlockEnd) {
      if (!node->exprs.empty()) ExpectOp(",");
      node->exprs.push_back(ParseExpression());
    }
    return node;
  }

  // A name, ns.attribute, or a tuple of them.
  ExprPtr ParseTarget(bool with_namespace, std::string_view end_word = {}) {
    const int line = Now().line;
    std::vector<ExprPtr> items;
    bool is_tuple = false;
    while (true) {
      if (!items.empty()) ExpectOp(",");
      if (!items.empty() && IsTupleEnd(end_word)) break;
      items.push_back(ParsePrimary(with_namespace));
      CheckTarget(items.back().get());
      if (!IsOp(",")) break;
      is_tuple = true;
    }
    if (!is_tuple) return std::move(items[0]);
    return NewNode(Expr::Kind::kTuple, line, std::move(items));
  }

  void CheckTarget(Expr* target) const {
    if (target->kind == Expr::Kind::kName || (target->kind == Expr::Kind::kAttr && target->is_namespace_target)) return;
    if (target->kind != Expr::Kind::kTuple) Fail("can't assign to this expression", target->line);
    for (const ExprPtr& item : target->args) CheckTarget(item.get());
  }

  // ---- expressions, loosest first
  bool IsTupleEnd(std::string_view end_word) const {
    return Now().kind == Kind::kVariableEnd || Now().kind == Kind::kBlockEnd || IsOp(")") ||
           (!end_word.empty() && IsName(end_word));
  }

  ExprPtr ParseTuple(bool with_condition = true, std::string_view end_word = {}, bool in_parentheses = false) {
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
    if (!is_tuple && !in_parentheses) Fail(fmt::format("Expected an expression, got {}", Describe(Now())));
    return NewNode(Expr::Kind::kTuple, line, std::move(items));
  }

  ExprPtr ParseExpression() {
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

  ExprPtr ParseOr() { return ParseLogic("or", Expr::Kind::kOr, &Parser::ParseAnd); }
  ExprPtr ParseAnd() { return ParseLogic("and", Expr::Kind::kAnd, &Parser::ParseNot); }
  ExprPtr ParseLogic(std::string_view word, Expr::Kind kind, ExprPtr (Parser::*next)()) {
    const int line = Now().line;
    std::vector<ExprPtr> args;
    args.push_back((this->*next)());
    while (SkipName(word)) args.push_back((this->*next)());
    if (args.size() == 1) return std::move(args[0]);
    return NewNode(kind, line, std::move(args));
  }

  ExprPtr ParseNot() {
    if (!IsName("not")) return ParseCompare();
    const Level level(&expr_depth_, Now().line);
    const int line = Take().line;
    return NewNode(Expr::Kind::kNot, line, One(ParseNot()));
  }

  ExprPtr ParseCompare() {
    static constexpr std::pair<std::string_view, CompareOp> kOps[] = {
        {"==", CompareOp::kEq}, {"!=", CompareOp::kNe}, {"<", CompareOp::kLt},
        {"<=", CompareOp::kLe}, {">", CompareOp::kGt},  {">=", CompareOp::kGe}};
    const int line = Now().line;
    std::vector<ExprPtr> args;
    std::vector<CompareOp> ops;
    args.push_back(ParseSum());
    while (true) {
      const auto op = std::find_if(std::begin(kOps), std::end(kOps), [&](const auto& o) { return IsOp(o.first); });
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

  using BinaryOps = std::initializer_list<std::pair<std::string_view, BinaryOp>>;
  ExprPtr ParseBinary(BinaryOps ops, ExprPtr (Parser::*next)()) {
    int line = Now().line;
    ExprPtr left = (this->*next)();
    while (true) {
      const auto op = std::find_if(ops.begin(), ops.end(), [&](const auto& o) { return IsOp(o.first); });
      if (op == ops.end()) return left;
      Take();
      std::vector<ExprPtr> args = One(std::move(left));
      args.push_back((this->*next)());
      left = NewNode(Expr::Kind::kBinary, line, std::move(args));
      left->op = op->second;
      line = Now().line;
    }
  }
  ExprPtr ParseSum() {
    return ParseBinary({{"+", BinaryOp::kAdd}, {"-", BinaryOp::kSub}}, &Parser::ParseConcat);
  }
  ExprPtr ParseConcat() {
    const int line = Now().line;
    std::vector<ExprPtr> args = One(ParseProduct());
    while (SkipOp("~")) args.push_back(ParseProduct());
    if (args.size() == 1) return std::move(args[0]);
    return NewNode(Expr::Kind::kConcat, line, std::move(args));
  }
  ExprPtr ParseProduct() {
    return ParseBinary({{"*", BinaryOp::kMul}, {"/", BinaryOp::kDiv}, {"//", BinaryOp::kFloorDiv},
                        {"%", BinaryOp::kMod}}, &Parser::ParsePower);
  }
  ExprPtr ParsePower() { return ParseBinary({{"**", BinaryOp::kPow}}, &Parser::ParseUnary); }

  ExprPtr ParseUnary() { return ParseSigned(/*with_filters=*/true); }
  ExprPtr ParseSigned(bool with_filters) {
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

  ExprPtr ParsePrimary(bool with_namespace) {
    const Token& token = Now();
    switch (token.kind) {
      case Kind::kName: return ParseName(with_namespace);
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
      default: break;
    }
    const Level level(&expr_depth_, token.line);
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

  ExprPtr ParseName(bool with_namespace) {
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

  std::vector<ExprPtr> ParseItems(std::string_view close, bool pairs) {
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

  ExprPtr ParsePostfix(ExprPtr node) {
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

  ExprPtr ParseSubscript(ExprPtr object, int line) {
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
        if (!subscripts.empty() || IsOp(",")) Fail("slices of several dimensions are not supported", line);
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

  // head(args, ...) with Now() at the parenthesis.
  ExprPtr ParseCall(Expr::Kind kind, ExprPtr head, int line) {
    ExprPtr node = NewExpr(kind, line);
    node->args.push_back(std::move(head));
    ParseArguments(node.get());
    Measure(node.get());
    return node;
  }

  void ParseArguments(Expr* node) {
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
      } else if (Now().kind == Kind::kName && After().kind == Kind::kOperator && After().text == "=") {
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

  ExprPtr ParseFiltersAndTests(ExprPtr node) {
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

  std::string TakeDottedName() {
    std::string name = TakeName();
    while (SkipOp(".")) name += "." + TakeName();
    return name;
  }

  // |a|b(...) applied to node; null if there is no filter and node is null.
  ExprPtr ParseFilters(ExprPtr node, bool first_is_named) {
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

  ExprPtr ParseTest(ExprPtr node) {
    const int line = Take().line;
    const bool is_negated = SkipName("not");
    ExprPtr test = NewExpr(Expr::Kind::kTest, line);
    test->name = TakeDottedName();
    test->args.push_back(std::move(node));
    const Kind kind = Now().kind;
    if (IsOp("(")) {
      ParseArguments(test.get());
    } else if ((kind == Kind::kName || kind == Kind::kString || kind == Kind::kInteger || kind == Kind::kFloat ||
                IsOp("[") || IsOp("{")) &&
               !IsName("else") && !IsName("or") && !IsName("and")) {
      if (IsName("is")) Fail("You cannot chain multiple tests with is");
      test->args.push_back(ParsePostfix(ParsePrimary(/*with_namespace=*/false)));
    }
    test->test = FindTest(test->name);
    if (test->test == nullptr && soft_depth_ == 0) Fail(fmt::format("No test named {}.", Quoted(test->name)), line);
    Measure(test.get());
    return is_negated ? NewNode(Expr::Kind::kNot, line, One(std::move(test))) : std::move(test);
  }

  // ---- nodes
  static StmtPtr NewStmt(Stmt::Kind kind, int line) {
    auto node = std::make_unique<Stmt>();
    node->kind = kind;
    node->line = line;
    return node;
  }
  static ExprPtr NewExpr(Expr::Kind kind, int line) {
    auto node = std::make_unique<Expr>();
    node->kind = kind;
    node->line = line;
    return node;
  }
  static std::vector<ExprPtr> One(ExprPtr expr) {
    std::vector<ExprPtr> args;
    args.push_back(std::move(expr));
    return args;
  }
  ExprPtr NewNode(Expr::Kind kind, int line, std::vector<ExprPtr> args) const {
    ExprPtr node = NewExpr(kind, line);
    node->args = std::move(args);
    Measure(node.get());
    return node;
  }
  void Measure(Expr* node) const {
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

  std::vector<Token> tokens_;
  size_t at_ = 0;
  std::unique_ptr<Template> template_ = std::make_unique<Template>();
  std::vector<Stmt*> functions_;  // macros and call blocks around
  std::unordered_set<std::string> block_names_;
  int block_depth_ = -1;  // the template itself is no level
  int expr_depth_ = 0;
  int loop_depth_ = 0;
  int soft_depth_ = 0;  // inside conditions, where unknown filters are errors only when reached
};

}  // namespace

int Template::Symbol(const std::string& name) {
  const auto [found, is_new] = symbols.emplace(name, static_cast<int>(names.size()));
  if (is_new) names.push_back(name);
  return found->second;
}

std::unique_ptr<const Template> ParseTemplate(std::string_view source) { return Parser(Tokenize(source)).Run(); }

}  // namespace planish::jinja
