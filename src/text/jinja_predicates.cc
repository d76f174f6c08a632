// SPDX-License-Identifier: Apache-2.0
#include "text/jinja_predicates.h"

#include <fmt/format.h>

#include "text/jinja_filters.h"
#include "text/jinja_interpreter.h"

namespace planish::jinja {
namespace {

// The one value of a test without arguments.
const Value& Only(const Args& args) {
  if (args.positional.size() != 1 || !args.named.empty())
    throw Failure{"this test takes no arguments"};
  return args.positional[0];
}

template <CompareOp op>
bool TestCompare(Interpreter& interpreter, Args& args) {
  if (args.positional.size() != 2 || !args.named.empty())
    throw Failure{"this test takes one argument"};
  return interpreter.CompareValues(op, args.positional[0], args.positional[1]);
}

bool HasRest(Interpreter& interpreter, const Value& value, Int divisor, Int rest) {
  const Value found = interpreter.Binary(BinaryOp::kMod, value, Value::Integer(divisor));
  return Equals(interpreter.heap(), found, Value::Integer(rest));
}

bool TestDivisibleBy(Interpreter& interpreter, Args& args) {
  const auto bound = args.Bind("divisibleby", {"value", "num"}, 2);
  return Equals(interpreter.heap(), interpreter.Binary(BinaryOp::kMod, *bound[0], *bound[1]),
                Value::Integer(0));
}

bool TestSameAs(Interpreter&, Args& args) {
  const auto bound = args.Bind("sameas", {"value", "other"}, 2);
  return IsIdentical(*bound[0], *bound[1]);
}

bool TestSequence(Interpreter&, Args& args) {
  const Value& value = Only(args);
  return value.is_undefined() || value.is_string() || value.type == Type::kDict ||
         (value.type == Type::kSeq && value.seq->is_indexable());
}

template <Class wanted>
bool TestCase(Interpreter& interpreter, Args& args) {
  Heap* heap = interpreter.heap();
  return IsAll(heap->Text(ToText(heap, Only(args)).text), wanted);
}

bool TestFilterName(Interpreter& interpreter, Args& args) {
  const Value& name = Only(args);
  return name.is_string() && FindFilter(interpreter.heap()->Text(name.text)) != nullptr;
}

bool TestTestName(Interpreter& interpreter, Args& args) {
  const Value& name = Only(args);
  return name.is_string() && FindTest(interpreter.heap()->Text(name.text)) != nullptr;
}

bool IsBool(const Value& value, bool wanted) {
  return value.type == Type::kBool && value.boolean == wanted;
}

struct NamedTest {
  std::string_view name;
  Test test;
};

constexpr NamedTest kTests[] = {
    {"odd", [](Interpreter& i, Args& a) { return HasRest(i, Only(a), 2, 1); }},
    {"even", [](Interpreter& i, Args& a) { return HasRest(i, Only(a), 2, 0); }},
    {"divisibleby", TestDivisibleBy},
    {"defined", [](Interpreter&, Args& a) { return !Only(a).is_undefined(); }},
    {"undefined", [](Interpreter&, Args& a) { return Only(a).is_undefined(); }},
    {"filter", TestFilterName},
    {"test", TestTestName},
    {"none", [](Interpreter&, Args& a) { return Only(a).is_none(); }},
    {"boolean", [](Interpreter&, Args& a) { return Only(a).type == Type::kBool; }},
    {"false", [](Interpreter&, Args& a) { return IsBool(Only(a), false); }},
    {"true", [](Interpreter&, Args& a) { return IsBool(Only(a), true); }},
    {"integer", [](Interpreter&, Args& a) { return Only(a).type == Type::kInt; }},
    {"float", [](Interpreter&, Args& a) { return Only(a).type == Type::kFloat; }},
    {"lower", TestCase<Class::kLower>},
    {"upper", TestCase<Class::kUpper>},
    {"string", [](Interpreter&, Args& a) { return Only(a).is_string(); }},
    {"mapping", [](Interpreter&, Args& a) { return Only(a).type == Type::kDict; }},
    {"number", [](Interpreter&, Args& a) { return Only(a).is_number(); }},
    {"sequence", TestSequence},
    {"iterable",
     [](Interpreter&, Args& a) { return IsIterable(Only(a)) || Only(a).type == Type::kLoop; }},
    {"callable",
     [](Interpreter&, Args& a) {
       const Value& value = Only(a);  // Python's Undefined has a __call__, which fails
       return value.is_undefined() || value.type == Type::kCallable || value.type == Type::kLoop ||
              (value.type == Type::kCycler && value.cycler->is_joiner);
     }},
    {"sameas", TestSameAs},
    {"escaped", [](Interpreter&, Args& a) { return Only(a), false; }},
    {"in", TestCompare<CompareOp::kIn>},
    {"eq", TestCompare<CompareOp::kEq>},
    {"equalto", TestCompare<CompareOp::kEq>},
    {"==", TestCompare<CompareOp::kEq>},
    {"ne", TestCompare<CompareOp::kNe>},
    {"!=", TestCompare<CompareOp::kNe>},
    {"gt", TestCompare<CompareOp::kGt>},
    {"greaterthan", TestCompare<CompareOp::kGt>},
    {">", TestCompare<CompareOp::kGt>},
    {"ge", TestCompare<CompareOp::kGe>},
    {">=", TestCompare<CompareOp::kGe>},
    {"lt", TestCompare<CompareOp::kLt>},
    {"lessthan", TestCompare<CompareOp::kLt>},
    {"<", TestCompare<CompareOp::kLt>},
    {"le", TestCompare<CompareOp::kLe>},
    {"<=", TestCompare<CompareOp::kLe>},
};

}  // namespace

Test FindTest(std::string_view name) {
  for (const NamedTest& each : kTests) {
    if (each.name == name) return each.test;
  }
  return nullptr;
}

}  // namespace planish::jinja
