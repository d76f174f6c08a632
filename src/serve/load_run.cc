// SPDX-License-Identifier: Apache-2.0
#include "serve/load_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>
#include <thread>
#include <tuple>

#include "base/random.h"
#include "net/chat_client.h"

namespace planish {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

constexpr uint64_t kArrivals = 0x6172726976616C73;  // a stream of random numbers of its own

// When each session is due, in seconds: gaps are exponential, as of independent users.
std::vector<double> Arrivals(size_t sessions, double rate, uint64_t seed) {
  std::vector<double> due(sessions, 0);
  for (size_t i = 1; rate > 0 && i < sessions; ++i)
    due[i] = due[i - 1] - std::log1p(-UniformAt(seed, kArrivals, i)) / rate;
  return due;
}

LoadSample Ask(ChatClient* client, const Workload& workload, Json body, std::string* answer) {
  LoadSample sample;
  const auto begin = Clock::now();
  auto last = begin;
  size_t events = 0, reasoning_events = 0;
  try {
    const ChatReply reply = client->Complete(
        std::move(body),
        [&](const ChatPiece& piece) {
          if (!piece.has_text()) return true;
          const auto now = Clock::now();
          if (events++ == 0)
            sample.first_s = Seconds(now - begin);
          else
            sample.gaps_s.push_back(Seconds(now - last));
          reasoning_events += !piece.reasoning.empty();
          last = now;
          return true;
        },
        workload.path);
    sample.end_s = Seconds(last - begin);
    sample.prompt_tokens = reply.prompt_tokens.value_or(0);
    sample.cached_tokens = reply.cached_tokens.value_or(0);
    sample.output_tokens = reply.completion_tokens.value_or(events);
    sample.reasoning_tokens = reply.reasoning_tokens.value_or(reasoning_events);
    if (events == 0) sample.error = "an answer without text";
    *answer = reply.content;
  } catch (const Error& error) {
    sample.error = error.what();
  }
  return sample;
}

}  // namespace

LoadResult RunLoad(const Workload& workload, const LoadOptions& options,
                   const std::function<void(size_t)>& on_done) {
  const std::vector<double> due = Arrivals(workload.sessions, options.request_rate, options.seed);
  LoadResult result;
  std::mutex mutex;  // guards `next` and `result`
  size_t next = 0;
  const auto begin = Clock::now();
  const auto work = [&] {
    ChatClient client(options.url, options.key, {.silence_s = options.silence_s});
    for (;;) {
      size_t session;
      {
        const std::lock_guard lock(mutex);
        if (next == workload.sessions) return;
        session = next++;
      }
      std::this_thread::sleep_until(begin + std::chrono::duration_cast<Clock::duration>(
                                                std::chrono::duration<double>(due[session])));
      std::vector<std::string> answers;
      for (size_t turn = 0; turn < workload.turns; ++turn) {
        std::string answer;
        LoadSample sample =
            Ask(&client, workload, workload.request(session, turn, answers), &answer);
        sample.session = session;
        sample.turn = turn;
        answers.push_back(std::move(answer));
        const bool failed = !sample.error.empty();
        const std::lock_guard lock(mutex);
        result.duration_s = Seconds(Clock::now() - begin);
        result.samples.push_back(std::move(sample));
        if (on_done) on_done(result.samples.size());
        if (failed) break;
      }
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < std::min(options.concurrency, workload.sessions); ++i)
    threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  std::sort(result.samples.begin(), result.samples.end(), [](const auto& a, const auto& b) {
    return std::tie(a.session, a.turn) < std::tie(b.session, b.turn);
  });
  return result;
}

}  // namespace planish
