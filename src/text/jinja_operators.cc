// SPDX-License-Identifier: Apache-2.0
// Arithmetic and comparison operators with Python's rules; integers that leave 128 bits are an
// error.
#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "base/limits.h"
#include "text/jinja_interpreter.h"

namespace planish::jinja {
namespace {

constexpr const char* kOpNames[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

[[noreturn]] void FailOverflow() { throw Failure{"integer overflow"}; }

Int FloorDiv(Int a, Int b) {
  Int result;
  if (b == -1) {
    if (__builtin_sub_overflow(Int{0}, a, &result)) FailOverflow();
    return result;
  }
  result = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? result - 1 : result;
}

Int FloorMod(Int a, Int b) {
  if (b == -1) return 0;
  const Int rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

double FloatMod(double a, double b) {
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
  return rest == 0 ? std::copysign(0.0, b) : rest;
}

double FloatFloorDiv(double a, double b) {
  const double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double floor = std::floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}

Value IntPower(Int base, Int exponent) {
  if (exponent < 0) {
    if (base == 0) throw Failure{"0.0 cannot be raised to a negative power"};
    return Value::Float(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  if (base == 0 || base == 1) return Value::Integer(exponent == 0 ? Int{1} : base);
  if (base == -1) return Value::Integer(exponent % 2 == 0 ? 1 : -1);
  if (exponent > 127) FailOverflow();
  Int result = 1;
  for (Int i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(result, base, &result)) FailOverflow();
  }
  return Value::Integer(result);
}

Value FloatArithmetic(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::kAdd:
      return Value::Float(a + b);
    case BinaryOp::kSub:
      return Value::Float(a - b);
    case BinaryOp::kMul:
      return Value::Float(a * b);
    case BinaryOp::kPow: {
      if (a == 0 && b < 0) throw Failure{"0.0 cannot be raised to a negative power"};
      if (a < 0 && std::isfinite(b) && b != std::floor(b))
        throw Failure{"complex numbers are not supported"};
      const double result = std::pow(a, b);
      if (std::isinf(result) && std::isfinite(a) && std::isfinite(b))
        throw Failure{"Numerical result out of range"};
      return Value::Float(result);
    }
    default:
      break;
  }
  if (b == 0)
    throw Failure{op == BinaryOp::kDiv ? "float division by zero"
                                       : "float floor division or modulo by zero"};
  if (op == BinaryOp::kDiv) return Value::Float(a / b);
  return Value::Float(op == BinaryOp::kMod ? FloatMod(a, b) : FloatFloorDiv(a, b));
}

Value IntArithmetic(BinaryOp op, Int a, Int b) {
  Int result = 0;
  switch (op) {
    case BinaryOp::kAdd:
      if (__builtin_add_overflow(a, b, &result)) FailOverflow();
      break;
    case BinaryOp::kSub:
      if (__builtin_sub_overflow(a, b, &result)) FailOverflow();
      break;
    case BinaryOp::kMul:
      if (__builtin_mul_overflow(a, b, &result)) FailOverflow();
      break;
    case BinaryOp::kPow:
      return IntPower(a, b);
    case BinaryOp::kDiv:
      if (b == 0) throw Failure{"division by zero"};
      return Value::Float(static_cast<double>(a) / static_cast<double>(b));
    case BinaryOp::kFloorDiv:
    case BinaryOp::kMod:
      if (b == 0) throw Failure{"integer division or modulo by zero"};
      result = op == BinaryOp::kMod ? FloorMod(a, b) : FloorDiv(a, b);
      break;
  }
  return Value::Integer(result);
}

Value RepeatSeq(Heap* heap, const Value& seq, Int count) {
  const auto& items = seq.seq->items;
  if (count < 0) count = 0;
  if (!items.empty() && count > static_cast<Int>(limits::kTemplateRange / items.size())) {
    throw Failure{fmt::format("repeated list has more than {} items", limits::kTemplateRange)};
  }
  std::vector<Value> out;
  if (!items.empty()) {
    for (Int i = 0; i < count; ++i) out.insert(out.end(), items.begin(), items.end());
  }
  const Value result = heap->List(std::move(out), seq.seq->origin);
  result.seq->kind = seq.seq->kind;
  return result;
}

bool IsListOrTuple(const Value& value) {
  return value.type == Type::kSeq && value.seq->kind <= Seq::Kind::kTuple;
}

}  // namespace

Value Interpreter::Binary(BinaryOp op, const Value& a, const Value& b) {
  if (op == BinaryOp::kMod && a.is_string()) {
    return PercentFormat(heap_, a.text, b);
  }
  RequireDefined(a);
  RequireDefined(b);
  if (a.is_number() && b.is_number()) {
    if (a.type == Type::kFloat || b.type == Type::kFloat)
      return FloatArithmetic(op, a.AsDouble(), b.AsDouble());
    return IntArithmetic(op, a.AsInt(), b.AsInt());
  }
  if (op == BinaryOp::kAdd) {
    if (a.is_string() && b.is_string()) return heap_->Concat(a.text, b.text);
    if (IsListOrTuple(a) && IsListOrTuple(b) && a.seq->kind == b.seq->kind) {
      std::vector<Value> items = a.seq->items;
      items.insert(items.end(), b.seq->items.begin(), b.seq->items.end());
      const Value result = heap_->List(std::move(items),
                                       a.seq->origin == b.seq->origin ? a.seq->origin : kFromOther);
      result.seq->kind = a.seq->kind;
      return result;
    }
  }
  if (op == BinaryOp::kMul) {
    if (a.is_string() && b.is_integer()) return Repeat(heap_, a.text, b.AsInt());
    if (b.is_string() && a.is_integer()) return Repeat(heap_, b.text, a.AsInt());
    if (IsListOrTuple(a) && b.is_integer()) return RepeatSeq(heap_, a, b.AsInt());
    if (IsListOrTuple(b) && a.is_integer()) return RepeatSeq(heap_, b, a.AsInt());
  }
  if (op == BinaryOp::kAdd && a.is_string()) {
    throw Failure{fmt::format("can only concatenate str (not \"{}\") to str", TypeName(b))};
  }
  throw Failure{fmt::format("unsupported operand type(s) for {}: '{}' and '{}'",
                            kOpNames[static_cast<size_t>(op)], TypeName(a), TypeName(b))};
}

Value Interpreter::Negate(const Value& value) {
  RequireDefined(value);
  if (value.type == Type::kFloat) return Value::Float(-value.number, value.origin);
  if (!value.is_integer())
    throw Failure{fmt::format("bad operand type for unary -: '{}'", TypeName(value))};
  Int result;
  if (__builtin_sub_overflow(Int{0}, value.AsInt(), &result)) FailOverflow();
  return Value::Integer(result, value.origin);
}

bool Interpreter::CompareValues(CompareOp op, const Value& a, const Value& b) {
  switch (op) {
    case CompareOp::kEq:
      return Equals(heap_, a, b);
    case CompareOp::kNe:
      return !Equals(heap_, a, b);
    case CompareOp::kIn:
      return Contains(heap_, b, a);
    case CompareOp::kNotIn:
      return !Contains(heap_, b, a);
    case CompareOp::kLt:
      return Compare(heap_, a, b, "<") == -1;
    case CompareOp::kGt:
      return Compare(heap_, a, b, ">") == 1;
    case CompareOp::kLe: {
      const int order = Compare(heap_, a, b, "<=");
      return order == -1 || order == 0;
    }
    case CompareOp::kGe: {
      const int order = Compare(heap_, a, b, ">=");
      return order == 1 || order == 0;
    }
  }
  return false;
}

}  // namespace planish::jinja
