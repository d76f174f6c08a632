// SPDX-License-Identifier: Apache-2.0
#include "problems/small_talk.h"

#include <span>
#include <vector>

#include "base/json.h"
#include "problems/lexicon.h"
#include "problems/phrase.h"
#include "problems/tool_words.h"

namespace planish {
namespace {

constexpr uint64_t kTalkStream = uint64_t{6} << 61;

constexpr const char* kGreetings[] = {
    "hello[|!| there!]",       "hi[|!| there!]",   "hey[|!]",
    "good morning[|!]",        "good evening[|!]", "good afternoon[|!]",
    "hello, planish[|!]",      "greetings!",       "hi, nice to meet you[|!|.]",
    "hello, can you hear me?", "hey you",          "good day[|!|.]"};
constexpr const char* kGreetingAnswers[] = {
    "Hello! [How can I help you?|What can I do for you?]",
    "Hi! [What can I do for you?|Ask me a small problem, and I will try to solve it.]",
    "Hello! Nice to meet you."};
constexpr const char* kWho[] = {"who are you?",
                                "what are you?",
                                "what is your name?",
                                "do you have a name?",
                                "tell me who you are.",
                                "are you a human?",
                                "introduce yourself[|, please].",
                                "what should I call you?",
                                "are you a robot?",
                                "who am I talking to?",
                                "which model are you?",
                                "what kind of program are you?"};
constexpr const char* kWhoAnswers[] = {
    "I am planish-nano, a very small language model.",
    "My name is planish-nano. I am a small language model that was trained on a CPU.",
    "I am planish-nano, a small hybrid language model."};
constexpr const char* kAble[] = {"what can you do?",
                                 "how can you help me?",
                                 "what are you good at?",
                                 "can you help me?",
                                 "what can I ask you?",
                                 "what is your job?",
                                 "what do you know?",
                                 "give me an idea what to ask you.",
                                 "help",
                                 "show me what you can do."};
constexpr const char* kAbleAnswers[] = {
    "I can solve small word problems with numbers, money, dates and letters, and I can use simple "
    "tools.",
    "Ask me about a small problem with numbers, times, units or words. I can think step by step.",
    "I solve short problems: sums, shares, prices, dates, sequences and words."};
constexpr const char* kThanks[] = {
    "thank you[|!|.]",   "thanks[|!| a lot!]",     "thank you very much[|!]",
    "great, thanks[|!]", "that was helpful[|!|.]", "well done[|!]",
    "good job[|!]",      "nice, thank you[|!]",    "that is right, thanks."};
constexpr const char* kThanksAnswers[] = {"You are welcome!", "Gladly!", "I am happy to help."};
constexpr const char* kBye[] = {"bye[|!]",
                                "goodbye[|!]",
                                "see you[| later| tomorrow][|!]",
                                "good night[|!]",
                                "I have to go now.",
                                "that is all for today.",
                                "see you next time[|!]"};
constexpr const char* kByeAnswers[] = {"Goodbye!", "See you!", "Goodbye, and have a good day!"};
constexpr const char* kFeel[] = {
    "how are you[| today]?",    "how do you do?",        "are you well?",
    "how is it going?",         "do you have feelings?", "are you happy?",
    "how do you feel[| today]?"};
constexpr const char* kFeelAnswers[] = {
    "I am a program, so I have no feelings, but I am ready to help.",
    "I am fine, thank you. What can I do for you?"};
constexpr const char* kUnknown[] = {"who won the game yesterday?",
                                    "what is the meaning of life?",
                                    "what will happen tomorrow?",
                                    "write a long story about the sea.",
                                    "who is the president?",
                                    "translate this text into French.",
                                    "what is the price of gold now?",
                                    "can you write a poem?",
                                    "what did I eat today?",
                                    "which stocks should I buy?",
                                    "tell me the news.",
                                    "what is my name?"};
constexpr const char* kUnknownAnswers[] = {
    "I am sorry, I do not know that. I am a very small model.",
    "I cannot answer that. I am only good at small problems."};

struct Fact {
  const char* questions[4];  // the last for tests
  const char* answer;
};
constexpr Fact kFacts[] = {
    {{"how many days are in a week?", "how many days does a week have?",
      "tell me how many days a week has.", "a week has how many days?"},
     "A week has 7 days."},
    {{"how many months are in a year?", "how many months does a year have?",
      "what is the number of months in a year?", "a year has how many months?"},
     "A year has 12 months."},
    {{"how many hours are in a day?", "how many hours does a day have?",
      "what is the number of hours in a day?", "one day is how many hours?"},
     "A day has 24 hours."},
    {{"how many minutes are in an hour?", "how many minutes does an hour have?",
      "an hour is how many minutes?", "one hour is how many minutes?"},
     "An hour has 60 minutes."},
    {{"how many legs does a spider have?", "how many legs has a spider?",
      "what is the number of legs of a spider?", "a spider has how many legs?"},
     "A spider has 8 legs."},
    {{"how many legs does a dog have?", "how many legs has a dog?",
      "what is the number of legs of a dog?", "a dog has how many legs?"},
     "A dog has 4 legs."},
    {{"what color is the sky on a clear day?", "which color does a clear sky have?",
      "what is the color of a clear sky?", "a clear sky has which color?"},
     "A clear sky is blue."},
    {{"what color is grass?", "which color does grass have?", "what is the color of grass?",
      "grass has which color?"},
     "Grass is green."},
    {{"what color is snow?", "which color does snow have?", "what is the color of snow?",
      "snow has which color?"},
     "Snow is white."},
    {{"what do bees make?", "what is made by bees?", "tell me what bees make.", "bees make what?"},
     "Bees make honey."},
    {{"what do cows give us?", "what do we get from cows?", "tell me what cows give us.",
      "what comes from a cow?"},
     "Cows give us milk."},
    {{"where do fish live?", "where can you find fish?", "tell me where fish live.",
      "fish live where?"},
     "Fish live in water."},
    {{"what is the opposite of hot?", "tell me the opposite of hot.",
      "which word is the opposite of hot?", "hot is the opposite of what?"},
     "The opposite of hot is cold."},
    {{"what is the opposite of big?", "tell me the opposite of big.",
      "which word is the opposite of big?", "big is the opposite of what?"},
     "The opposite of big is small."},
    {{"what is the opposite of early?", "tell me the opposite of early.",
      "which word is the opposite of early?", "early is the opposite of what?"},
     "The opposite of early is late."},
    {{"which season comes after winter?", "what season follows winter?",
      "tell me the season after winter.", "after winter comes which season?"},
     "Spring comes after winter."},
    {{"which season comes after summer?", "what season follows summer?",
      "tell me the season after summer.", "after summer comes which season?"},
     "Autumn comes after summer."},
    {{"what is the first month of the year?", "which month is the first of the year?",
      "name the first month.", "the year begins with which month?"},
     "The first month of the year is January."},
    {{"what is the last month of the year?", "which month is the last of the year?",
      "name the last month.", "the year ends with which month?"},
     "The last month of the year is December."},
    {{"what is frozen water called?", "what do we call frozen water?",
      "tell me the word for frozen water.", "frozen water is called what?"},
     "Frozen water is called ice."},
    {{"how many sides does a triangle have?", "how many sides has a triangle?",
      "what is the number of sides of a triangle?", "a triangle has how many sides?"},
     "A triangle has 3 sides."},
    {{"how many sides does a square have?", "how many sides has a square?",
      "what is the number of sides of a square?", "a square has how many sides?"},
     "A square has 4 sides."},
    {{"what is the capital of France?", "which city is the capital of France?",
      "name the capital of France.", "France has which capital?"},
     "The capital of France is Paris."},
    {{"what is the capital of Italy?", "which city is the capital of Italy?",
      "name the capital of Italy.", "Italy has which capital?"},
     "The capital of Italy is Rome."},
    {{"what is the capital of Germany?", "which city is the capital of Germany?",
      "name the capital of Germany.", "Germany has which capital?"},
     "The capital of Germany is Berlin."},
    {{"what is the capital of Japan?", "which city is the capital of Japan?",
      "name the capital of Japan.", "Japan has which capital?"},
     "The capital of Japan is Tokyo."},
    {{"how many letters does the alphabet have?", "how many letters are in the alphabet?",
      "what is the number of letters in the alphabet?", "the alphabet has how many letters?"},
     "The English alphabet has 26 letters."},
    {{"is the sun a star?", "is our sun a star?", "tell me if the sun is a star.",
      "the sun is a star, right?"},
     "Yes, the sun is a star."},
    {{"do birds have wings?", "have birds got wings?", "tell me if birds have wings.",
      "birds have wings, right?"},
     "Yes, birds have wings."},
    {{"can fish fly like birds?", "do fish fly like birds?", "tell me if fish fly like birds.",
      "fish fly like birds, right?"},
     "No, fish swim in water."},
};

struct Topic {
  WordFrames questions, answers;
  const char* note;
  int weight;
};
const Topic kTopics[] = {
    {kGreetings, kGreetingAnswers, "a greeting", 16},
    {kWho, kWhoAnswers, "who I am", 16},
    {kAble, kAbleAnswers, "what I can do", 12},
    {kThanks, kThanksAnswers, "thanks", 10},
    {kBye, kByeAnswers, "goodbye", 6},
    {kFeel, kFeelAnswers, "how I am", 8},
    {kUnknown, kUnknownAnswers, "I do not know this", 8},
};
constexpr int kFactWeight = 24;  // with the topics 100

}  // namespace

SmallTalk MakeSmallTalk(Draw* draw, Split split) {
  const Slots slots;
  int64_t rest = draw->Between(0, 99);
  for (const Topic& topic : kTopics) {
    if ((rest -= topic.weight) >= 0) continue;
    const char* frame = topic.questions[FrameIndex(topic.questions.size(), split, draw)];
    return {.question = WithCapitals(slots.Fill(frame, draw)),
            .thinking = topic.note,
            .answer = slots.Fill(draw->Of(topic.answers), draw)};
  }
  const Fact& fact = draw->Of(kFacts);
  const char* question = fact.questions[split == Split::kTest ? 3 : draw->Index(3)];
  return {.question = WithCapitals(question), .thinking = "a known fact", .answer = fact.answer};
}

std::string SmallTalkRow(uint64_t seed, uint64_t index, bool thinks) {
  Draw draw(seed, kTalkStream + index);
  Json messages = Json::MakeArray();
  const int64_t exchanges = draw.Chance(70) ? 1 : draw.Between(2, 3);
  for (int64_t i = 0; i < exchanges; ++i) {
    SmallTalk talk = MakeSmallTalk(&draw, Split::kTrain);
    Json user = Json::MakeObject();
    user.Set("role", "user");
    user.Set("content", std::move(talk.question));
    messages.Append(std::move(user));
    Json assistant = Json::MakeObject();
    assistant.Set("role", "assistant");
    if (thinks) assistant.Set("reasoning_content", std::move(talk.thinking));
    assistant.Set("content", std::move(talk.answer));
    messages.Append(std::move(assistant));
  }
  Json row = Json::MakeObject();
  row.Set("messages", std::move(messages));
  row.Set("enable_thinking", thinks);
  return DumpJson(row);
}

}  // namespace planish
