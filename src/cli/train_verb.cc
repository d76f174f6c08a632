// SPDX-License-Identifier: Apache-2.0
#include "cli/train_verb.h"

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "base/interrupt.h"
#include "base/log.h"
#include "base/memory.h"
#include "cli/ranks.h"
#include "model/planner.h"
#include "train/comm_mpi.h"
#include "train/run_setup.h"
#include "train/train_cost.h"
#include "train/train_model.h"
#include "train/trainer.h"

namespace planish {
namespace {

volatile std::sig_atomic_t g_stop_signals = 0;

// The first signal ends the run after its step, with a checkpoint; the second one at once.
void OnSignal(int signal) {
  if (g_stop_signals == 0) {
    g_stop_signals = 1;
    return;
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

bool IsStopAsked() { return g_stop_signals != 0; }

class StopSignals {
 public:
  StopSignals() {
    struct sigaction action {};
    action.sa_handler = OnSignal;
    action.sa_flags = SA_RESTART;
    for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
  }
  ~StopSignals() { InstallInterruptHandler(); }
};

}  // namespace

void TrainVerb::Declare(OptionSet* options) {
  options->Positional("recipe", &recipes_, "recipe of the run, a TOML file");
  options->Text("-c,--config", &config_, "the same, as an option");
  options->TextList("--set", &settings_, "SECTION.KEY=VALUE of the recipe; may be repeated");
  options->Group("Run");
  options->Text("-o,--output", &output_, "folder of the run; default: runs/NAME of the recipe");
  options->Text("--resume", &resume_,
                "auto: the folder's newest good checkpoint, if any; never; or a checkpoint");
  options->Text("--branch-decay", &branch_,
                "leave the stable phase at this checkpoint and decay over schedule.decay_tokens");
  options->Flag("--rebase-data", &rebase_data_, "resume on other data than the checkpoint's");
  options->Int("--steps", &steps_, 0, INT64_MAX, "stop after this step of the run; 0: at its end");
  options->Bytes("--memory", &memory_, "limit of the plan; default: what this process may take");
  options->Int("--ranks", &ranks_, 1, 1024,
               "start this many ranks on this machine (mpirun does it on several)");
  options->Int("--max-restarts", &max_restarts_, 0, 1000,
               "with --ranks: start again from the newest checkpoint when the job dies");
  options->Flag("--mpi", &is_mpi_, "join an MPI job whatever the environment says");
  options->Flag("--dry-run", &dry_run_, "check recipe, data and memory, print the plan, and exit");
  options->Group("Short for --set");
  options->Int("--seed", &seed_, 0, INT64_MAX, "seed");
  options->Choice("--precision", &precision_, {"f32", "bf16", "fp8"}, "precision.mode");
  options->Int("--save-every", &save_every_, 0, INT32_MAX, "checkpoint.every_steps");
  options->Int("--eval-every", &eval_every_, 0, INT32_MAX, "eval.every_steps");
  DeclareMore(options);
}

Recipe TrainVerb::Load(const OptionSet& options) const {
  const bool is_named = !recipes_.empty();
  const size_t named = recipes_.size() + (config_.empty() ? 0 : 1);
  const std::optional<Recipe> made = named == 0 ? RecipeOfOptions(options) : std::nullopt;
  if (named != 1 && !made)
    throw Error(ExitCode::kUsage, "expected one recipe",
                fmt::format("planish {} recipes/tiny/tiny.toml", name()));
  std::vector<std::string> settings;
  const auto add = [&](const char* option, const char* key, const std::string& value) {
    if (options.WasGiven(option)) settings.push_back(fmt::format("{}={}", key, value));
  };
  add("--seed", "seed", std::to_string(seed_));
  add("--precision", "precision.mode", precision_);
  add("--save-every", "checkpoint.every_steps", std::to_string(save_every_));
  add("--eval-every", "eval.every_steps", std::to_string(eval_every_));
  AddSettings(options, &settings);
  settings.insert(settings.end(), settings_.begin(), settings_.end());
  Recipe recipe = made ? ParseRecipe(PrintRecipe(*made), "options", "/", settings)
                       : LoadRecipe(is_named ? recipes_[0] : config_, settings, Defaults());
  if (recipe.name.empty())
    recipe.name = std::filesystem::path(is_named ? recipes_[0] : config_).stem().string();
  Check(recipe);
  return recipe;
}

bool TrainVerb::PrintConfig(const OptionSet& options) {
  fmt::print("{}", PrintRecipe(Load(options)));
  return true;
}

ExitCode TrainVerb::Run(const OptionSet& options) {
  const Recipe recipe = Load(options);
  if (dry_run_) return DryRun(recipe);
  if (const auto code = RunInsteadOf(recipe)) return *code;
  const bool is_rank = is_mpi_ || IsUnderMpi();
  if (ranks_ > 1 && !is_rank)
    return static_cast<ExitCode>(
        RunRanks({static_cast<size_t>(ranks_), static_cast<size_t>(max_restarts_)}));
  const std::unique_ptr<Comm> comm = is_rank ? JoinMpi() : MakeLocalComm();
  TrainOptions train{.command = name(),
                     .version = ProgramVersion(),
                     .folder = output_.empty() ? "runs/" + recipe.name : output_,
                     .resume = resume_,
                     .branch_from = branch_,
                     .rebase_data = rebase_data_,
                     .stop_at_step = static_cast<uint64_t>(steps_),
                     .memory_limit = memory_,
                     .comm = comm.get(),
                     .is_stop_asked = IsStopAsked};
  Trainer trainer(recipe, train);
  const StopSignals signals;
  const TrainEnd end = trainer.Run();
  if (comm->rank() == 0)
    LogInfo("{}: {} after step {}, {} tokens; the model is in {}/checkpoints", train.folder,
            end == TrainEnd::kFinished ? "finished" : "stopped", trainer.state().step,
            trainer.state().tokens, train.folder);
  if (comm->rank() == 0) Finish(recipe, train.folder);
  return ExitCode::kOk;
}

std::optional<ExitCode> TrainVerb::RunInsteadOf(const Recipe& recipe) {
  const StopSignals signals;
  return RunInstead(recipe, IsStopAsked);
}

ExitCode TrainVerb::DryRun(const Recipe& recipe) const {
  const Pretrained model = DescribeForTraining(recipe.model);
  const TrainPlanRequest request = PlanRequestOf(recipe, model);
  fmt::print("model      {} parameters: {}\n", MakePlan(model.config, {}).parameters,
             DescribeBlocks(model.config));
  fmt::print("memory     {}\n", Describe(PlanTraining(model.config, request)));
  CheckTrainMemory(model, recipe, memory_);
  const Loader loader = OpenLoader(recipe, model);
  OpenValidation(recipe, model);
  const uint64_t total = loader.TokensBefore(loader.samples());
  fmt::print("run        {} tokens in {} steps of {}\n", total, total / recipe.batch.tokens,
             recipe.batch.tokens);
  for (uint32_t d = 0; d < loader.datasets().size(); ++d) {
    const Loader::Usage usage = loader.UsageOf(d, loader.samples());
    fmt::print("dataset    {}: {} rows, {:.2f} epochs\n", loader.datasets()[d].name, usage.rows,
               usage.epochs);
  }
  const Flops flops = StepFlopsOf(model.config, recipe.lora.rank, recipe.lora.target_modules);
  const TokenBatch first = loader.Micro(0, recipe.batch.micro_samples);
  size_t kept = 0;
  for (const uint8_t weight : first.weights) kept += weight != 0;
  fmt::print("first pass {} tokens, {} targets, {} documents\n", first.ids.size(), kept,
             first.document_lengths.size());
  fmt::print("work       {:.3g} FLOP a token, forward and backward\n",
             flops.per_token + flops.per_context * static_cast<double>(recipe.batch.seq_len) / 2);
  ScheduleOf(recipe, total);
  return ExitCode::kOk;
}

}  // namespace planish
