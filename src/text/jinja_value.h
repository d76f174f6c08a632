// SPDX-License-Identifier: Apache-2.0
// Values of the Jinja interpreter with Python's meaning, and the Heap that owns all of them for one
// rendering. Nothing is freed before the Heap: values are plain pointers, so reference cycles (a
// namespace that holds itself) and chains of a million nested lists need no care. The Heap counts
// steps and bytes and fails at the limits. Every text knows, byte range by byte range, where it
// came from (OriginId); scalars and containers carry one origin.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace planish::jinja {

// Python's integers are unbounded; 128 bits hold every JSON integer, and overflow is an error.
using Int = __int128;

// kFromMessage0 + i is message i. kGenerationBit: produced inside {% generation %}.
using OriginId = uint32_t;
inline constexpr OriginId kFromTemplate = 0, kFromOther = 1, kFromTools = 2, kFromMessage0 = 16;
inline constexpr OriginId kGenerationBit = OriginId{1} << 31;

// Thrown anywhere inside the lexer, parser and interpreter; ChatTemplate turns it into an Error.
// Line 0: not yet known.
struct Failure {
  std::string message;
  int line = 0;
};

struct Str;
struct Seq;
struct Dict;
struct Namespace;
struct Callable;
struct Loop;
struct Cycler;

enum class Type : uint8_t {
  kUndefined,  // text: why, for the error message (may be null)
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kSeq,  // list, tuple, range, dictionary views, generators: see Seq::Kind
  kDict,
  kNamespace,
  kCallable,  // macro, bound method, global function
  kLoop,
  kCycler,  // cycler() and joiner()
};

struct Value {
  Type type = Type::kUndefined;
  OriginId origin = kFromOther;  // of scalars; containers and texts hold their own
  union {
    bool boolean;
    Int integer;
    double number;
    Str* text;
    Seq* seq;
    Dict* dict;
    Namespace* space;
    Callable* callable;
    Loop* loop;
    Cycler* cycler;
  };

  Value() : text(nullptr) {}
  static Value None(OriginId origin = kFromOther);
  static Value Bool(bool value, OriginId origin = kFromOther);
  static Value Integer(Int value, OriginId origin = kFromOther);
  static Value Float(double value, OriginId origin = kFromOther);
  static Value Of(Str* value);
  static Value Of(Seq* value);
  static Value Of(Dict* value);
  static Value Of(Namespace* value);
  static Value Of(Callable* value);
  static Value Of(Loop* value);
  static Value Of(Cycler* value);

  bool is_undefined() const { return type == Type::kUndefined; }
  bool is_none() const { return type == Type::kNone; }
  bool is_string() const { return type == Type::kString; }
  bool is_integer() const {
    return type == Type::kInt || type == Type::kBool;
  }  // as isinstance(x, int)
  bool is_number() const { return is_integer() || type == Type::kFloat; }
  Int AsInt() const { return type == Type::kBool ? Int{boolean} : integer; }
  double AsDouble() const { return type == Type::kFloat ? number : static_cast<double>(AsInt()); }
};

// A run ends before byte `end` of its text.
struct Run {
  uint32_t end;
  OriginId origin;
};

// Text: UTF-8 bytes owned, viewed (a literal, a message, a slice of another Str), or a
// concatenation not yet carried out.
struct Str {
  std::string_view view;
  std::vector<Run> runs;  // empty: all of it is from `origin`
  OriginId origin = kFromTemplate;
  std::string owned;
  Str* left = nullptr;  // both set: view and runs are made by Heap::Flatten from these
  Str* right = nullptr;
  size_t bytes = 0;
  int64_t points = -1;  // code points, once counted
};

struct Seq {
  enum class Kind : uint8_t {
    kList,
    kTuple,
    kRange,
    kKeys,
    kValues,
    kItems,
    kReversed,
    kGenerator
  };
  Kind kind = Kind::kList;
  OriginId origin = kFromOther;
  std::vector<Value> items;
  size_t next = 0;                    // kGenerator, kReversed: how many were consumed
  Int start = 0, stop = 0, step = 1;  // kRange, for printing
  bool is_group = false;              // a pair made by groupby, with .grouper and .list

  bool is_iterator() const { return kind == Kind::kGenerator || kind == Kind::kReversed; }
  bool is_indexable() const { return kind <= Kind::kRange; }
};

struct Dict {
  OriginId origin = kFromOther;
  std::vector<std::pair<Value, Value>> items;          // in insertion order
  std::unordered_map<std::string_view, size_t> index;  // of string keys, built once there are many
};

struct Namespace {
  Dict dict;
};

// Variables of one block; linear search, because blocks hold few names.
struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<int, Value>> variables;

  const Value* FindHere(int symbol) const;
  const Value* Find(int symbol) const;
  void Set(int symbol, const Value& value);
};

struct Stmt;
enum class Method : uint8_t;
enum class Function : uint8_t { kRange, kDict, kNamespace, kCycler, kJoiner, kRaise, kStrftimeNow };

struct Callable {
  enum class Kind : uint8_t { kMacro, kMethod, kFunction };
  Kind kind = Kind::kFunction;
  const Stmt* macro = nullptr;  // kMacro: the macro or call block, run in a scope below `scope`
  Scope* scope = nullptr;
  Method method{};  // kMethod, bound to self
  Value self;
  Function function{};
};

// The `loop` variable.
struct Loop {
  const std::vector<Value>* items = nullptr;
  size_t index0 = 0;
  int depth0 = 0;
  const Stmt* statement = nullptr;  // for loop(...)
  Scope* outer = nullptr;
  bool has_changed_value = false;
  std::vector<Value> changed_value;
};

struct Cycler {
  bool is_joiner = false;
  std::vector<Value> items;  // joiner: the separator
  size_t position = 0;       // joiner: 0 before the first use
};

class Heap {
 public:
  // Work done and bytes taken; throw Failure beyond limits::kTemplateSteps and
  // limits::kTemplateMemoryBytes.
  void Tick(uint64_t steps = 1) {
    steps_ += steps;
    if (steps_ > max_steps_) FailSteps();
  }
  void Charge(uint64_t bytes) {  // counts as work as well
    bytes_ += bytes;
    steps_ += bytes / 64;
    if (bytes_ > max_bytes_ || steps_ > max_steps_) FailBytes();
  }

  Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  Value String(std::string text, OriginId origin);
  Value View(std::string_view text, OriginId origin);  // the bytes must outlive the heap
  Value Slice(Str* text, size_t begin, size_t end);    // bytes; keeps origins
  Value Concat(Str* a, Str* b);
  Value Undefined(std::string why);
  Seq* NewSeq(Seq::Kind kind, OriginId origin = kFromOther);
  Value List(std::vector<Value> items, OriginId origin = kFromOther);
  Value Tuple(std::vector<Value> items);
  Dict* NewDict(OriginId origin = kFromOther);
  Namespace* NewNamespace();
  Callable* NewCallable(Callable::Kind kind);
  Loop* NewLoop();
  Cycler* NewCycler();
  Scope* NewScope(Scope* parent);
  Str* NewStr();

  // The text's bytes, carrying out a pending concatenation first.
  std::string_view Text(Str* text);
  int64_t Length(Str* text);  // code points
  // Byte offset of code point `index` in [0, Length].
  size_t OffsetOf(Str* text, int64_t index);

  const Value* Find(Dict* dict, const Value& key);
  const Value* Find(Dict* dict, std::string_view key);
  void Set(Dict* dict, const Value& key, const Value& value);  // key was checked by CheckHashable

 private:
  void Flatten(Str* text);
  [[noreturn]] void FailSteps() const;
  [[noreturn]] void FailBytes() const;

  uint64_t steps_ = 0, bytes_ = 0, max_steps_, max_bytes_;
  std::deque<Str> strs_;
  std::deque<Seq> seqs_;
  std::deque<Dict> dicts_;
  std::deque<Namespace> spaces_;
  std::deque<Callable> callables_;
  std::deque<Loop> loops_;
  std::deque<Cycler> cyclers_;
  std::deque<Scope> scopes_;
};

// Python's rules. Functions that walk nested values fail beyond a fixed depth instead of
// overflowing the stack.
bool IsTrue(const Value& value);
bool Equals(Heap* heap, const Value& a, const Value& b, int depth = 0);
// -1, 0, 1, or 2 for unordered floats; Failure with Python's TypeError text if the types have no
// order. `op` for that text.
int Compare(Heap* heap, const Value& a, const Value& b, const char* op = "<", int depth = 0);
bool Contains(Heap* heap, const Value& container, const Value& item);
bool IsIdentical(const Value& a, const Value& b);  // Python's `is`
void CheckHashable(const Value& value, int depth = 0);
const char* TypeName(const Value& value);  // as type(x).__name__
// len(); Failure if the value has none.
int64_t LengthOf(Heap* heap, const Value& value);
// The items that a for loop sees; an iterator is used up. Failure for what cannot be iterated.
std::vector<Value> ItemsOf(Heap* heap, const Value& value);
bool IsIterable(const Value& value);
// Fails if value is undefined: "'x' is undefined".
[[noreturn]] void FailUndefined(const Value& value);
void RequireDefined(const Value& value);

}  // namespace planish::jinja
