// SPDX-License-Identifier: Apache-2.0
// The syntax tree of a Jinja template. One node type for expressions and one for statements, told
// apart by `kind`: the interpreter is a switch, and a tree of plain data is easy to bound in depth.
// Immutable once parsed.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/jinja_value.h"

namespace planish::jinja {

class Interpreter;
struct Args;
using Filter = Value (*)(Interpreter&, Args&);
using Test = bool (*)(Interpreter&, Args&);

enum class BinaryOp : uint8_t { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow };
enum class CompareOp : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;
struct Keyword {
  std::string name;
  ExprPtr value;
};

struct Expr {
  enum class Kind : uint8_t {
    kConst,   // constant
    kString,  // name is the text
    kName,    // name, symbol
    kTuple,   // args
    kList,    // args
    kDict,    // args: key, value, key, value, ...
    kAttr,    // args[0].name
    kItem,    // args[0][args[1]]
    kSlice,   // args[0][args[1]:args[2]:args[3]], each bound may be null
    kCall,    // args[0](args[1...], keywords, *star, **double_star)
    kFilter,  // args[0]|name(args[1...]); args[0] is null at the head of a {% filter %} chain
    kTest,    // args[0] is name(args[1...])
    kNot,
    kNeg,
    kPos,  // args[0]
    kAnd,
    kOr,       // args
    kCompare,  // args[0] compares[0] args[1] compares[1] ...
    kConcat,   // args joined by ~
    kBinary,   // args[0] op args[1]
    kCond,     // args[1] if args[0] else args[2]; args[2] may be null
  };
  Kind kind;
  BinaryOp op{};
  bool is_namespace_target = false;  // kAttr on the left of {% set ns.x = ... %}
  int line;
  int depth = 1;  // of the tree below, itself included
  int symbol = -1;
  Value constant;
  std::string name;
  std::vector<ExprPtr> args;
  std::vector<Keyword> keywords;
  ExprPtr star, double_star;
  std::vector<CompareOp> compares;
  Filter filter = nullptr;  // null: unknown name, an error when reached
  Test test = nullptr;
};

struct Stmt;
using StmtPtr = std::unique_ptr<Stmt>;
using Body = std::vector<StmtPtr>;

struct Stmt {
  enum class Kind : uint8_t {
    kOutput,     // exprs
    kSet,        // target = exprs[0]
    kSetBlock,   // target = body, through filter if any
    kIf,         // exprs[i] guards bodies[i]; one more body is the else
    kFor,        // target in exprs[0], if exprs[1] (may be null); bodies[0], bodies[1] is the else
    kMacro,      // name(params = defaults): bodies[0]
    kCallBlock,  // exprs[0] is the call; params, bodies[0]
    kFilterBlock,  // exprs[0] is a filter chain
    kWith,         // targets = exprs: bodies[0]
    kGeneration,   // bodies[0]
    kBlock,        // bodies[0]
    kBreak,
    kContinue,
  };
  Kind kind;
  bool is_recursive = false;                                            // kFor
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;  // kMacro, kCallBlock
  int line;
  std::string name;
  int symbol = -1;
  ExprPtr target;  // kName, kTuple or kAttr
  ExprPtr filter;  // kSetBlock
  std::vector<ExprPtr> exprs;
  std::vector<ExprPtr> targets;
  std::vector<std::string> param_names;
  std::vector<int> params;        // symbols
  std::vector<ExprPtr> defaults;  // of the last params
  std::vector<Body> bodies;
};

struct Template {
  Body body;
  std::unordered_map<std::string, int> symbols;
  std::vector<std::string> names;  // by symbol

  int Symbol(const std::string& name);  // adds it if new
};

inline constexpr int kLoopSymbol = 0, kCallerSymbol = 1, kVarargsSymbol = 2, kKwargsSymbol = 3;

}  // namespace planish::jinja
