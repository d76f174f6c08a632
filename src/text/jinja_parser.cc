// SPDX-License-Identifier: Apache-2.0
#include "text/jinja_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "text/jinja_expression_parser.h"
#include "text/jinja_lexer.h"

namespace planish::jinja {
namespace {

using Words = std::initializer_list<std::string_view>;

class Parser : private ExpressionParser {
 public:
  explicit Parser(std::vector<Token> tokens) : ExpressionParser(std::move(tokens)) {
    for (const char* name : {"loop", "caller", "varargs", "kwargs"}) template_->Symbol(name);
  }

  std::unique_ptr<const Template> Run() {
    template_->body = ParseBody({});
    return std::move(template_);
  }

 private:
  // ---- statements
  // Until a block that begins with one of `ends` (whose name is then Now()), or the end of the
  // template if there are none.
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
          if (std::any_of(ends.begin(), ends.end(), [&](std::string_view w) { return IsName(w); }))
            return body;
          output = nullptr;
          StmtPtr statement = ParseStatement();
          ExpectBlockEnd();
          body.push_back(std::move(statement));
          break;
        }
        default:
          if (ends.size() > 0) {
            Fail(fmt::format("unexpected end of template, expected {{% {} %}}",
                             fmt::join(ends, " or ")));
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
    if (tag == "include" || tag == "import" || tag == "extends" || tag == "from" ||
        tag == "autoescape") {
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
    if (SetsLoop(*node->target))
      Fail("Can't assign to special loop variable in for-loop target", node->line);
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
           std::any_of(target.args.begin(), target.args.end(),
                       [](const ExprPtr& e) { return SetsLoop(*e); });
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

  // The body of a macro or call block: a function of its own, so outer loops cannot be left from
  // inside.
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
    if (!block_names_.insert(node->name).second)
      Fail(fmt::format("block {} defined twice", Quoted(node->name)));
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
    if (target->kind == Expr::Kind::kName ||
        (target->kind == Expr::Kind::kAttr && target->is_namespace_target))
      return;
    if (target->kind != Expr::Kind::kTuple) Fail("can't assign to this expression", target->line);
    for (const ExprPtr& item : target->args) CheckTarget(item.get());
  }

  std::unordered_set<std::string> block_names_;
  int block_depth_ = -1;  // the template itself is no level
  int loop_depth_ = 0;
};

}  // namespace

int Template::Symbol(const std::string& name) {
  const auto [found, is_new] = symbols.emplace(name, static_cast<int>(names.size()));
  if (is_new) names.push_back(name);
  return found->second;
}

std::unique_ptr<const Template> ParseTemplate(std::string_view source) {
  return Parser(Tokenize(source)).Run();
}

}  // namespace planish::jinja
