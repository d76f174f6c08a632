// SPDX-License-Identifier: Apache-2.0
// The token stream and the expression half of the Jinja parser: one method for each level of
// precedence, loosest first. Parser (jinja_parser.cc) adds the statements.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

namespace planish::jinja {

// Counts one level of nesting for as long as it lives; fails beyond limits::kTemplateNesting.
class Level {
 public:
  Level(int* depth, int line);
  ~Level() { --*depth_; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

 private:
  int* depth_;
};

class ExpressionParser {
 protected:
  using Kind = Token::Kind;

  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& Now() const { return tokens_[at_]; }
  const Token& After() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& Take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool IsOp(std::string_view op) const { return Now().kind == Kind::kOperator && Now().text == op; }
  bool IsName(std::string_view name) const {
    return Now().kind == Kind::kName && Now().text == name;
  }
  bool SkipOp(std::string_view op) { return IsOp(op) && (Take(), true); }
  bool SkipName(std::string_view name) { return IsName(name) && (Take(), true); }
  static std::string Describe(const Token& token);
  [[noreturn]] void Fail(std::string message, int line = 0) const;
  [[noreturn]] void FailExpected(std::string_view what) const;
  void ExpectOp(std::string_view op);
  void ExpectName(std::string_view name);
  void ExpectBlockEnd();
  std::string TakeName();

  static StmtPtr NewStmt(Stmt::Kind kind, int line);
  static ExprPtr NewExpr(Expr::Kind kind, int line);
  static std::vector<ExprPtr> One(ExprPtr expr) {
    std::vector<ExprPtr> args;
    args.push_back(std::move(expr));
    return args;
  }
  ExprPtr NewNode(Expr::Kind kind, int line, std::vector<ExprPtr> args) const;
  void Measure(Expr* node) const;

  bool IsTupleEnd(std::string_view end_word) const;
  ExprPtr ParseTuple(bool with_condition = true, std::string_view end_word = {},
                     bool in_parentheses = false);
  ExprPtr ParseExpression();
  ExprPtr ParseOr();
  ExprPtr ParseAnd();
  ExprPtr ParseLogic(std::string_view word, Expr::Kind kind, ExprPtr (ExpressionParser::*next)());
  ExprPtr ParseNot();
  ExprPtr ParseCompare();
  using BinaryOps = std::initializer_list<std::pair<std::string_view, BinaryOp>>;
  ExprPtr ParseBinary(BinaryOps ops, ExprPtr (ExpressionParser::*next)());
  ExprPtr ParseSum();
  ExprPtr ParseConcat();
  ExprPtr ParseProduct();
  ExprPtr ParsePower();
  ExprPtr ParseUnary();
  ExprPtr ParseSigned(bool with_filters);
  ExprPtr ParsePrimary(bool with_namespace);
  ExprPtr ParseName(bool with_namespace);
  std::vector<ExprPtr> ParseItems(std::string_view close, bool pairs);
  ExprPtr ParsePostfix(ExprPtr node);
  ExprPtr ParseSubscript(ExprPtr object, int line);
  // head(args, ...) with Now() at the parenthesis.
  ExprPtr ParseCall(Expr::Kind kind, ExprPtr head, int line);
  void ParseArguments(Expr* node);
  ExprPtr ParseFiltersAndTests(ExprPtr node);
  std::string TakeDottedName();
  // |a|b(...) applied to node; null if there is no filter and node is null.
  ExprPtr ParseFilters(ExprPtr node, bool first_is_named);
  ExprPtr ParseTest(ExprPtr node);

  std::unique_ptr<Template> template_ = std::make_unique<Template>();
  std::vector<Stmt*> functions_;  // macros and call blocks around
  int soft_depth_ = 0;  // inside conditions, where unknown filters are errors only when reached

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int expr_depth_ = 0;
};

}  // namespace planish::jinja
