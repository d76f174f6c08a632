#include "problems/skills.h"
namespace planish {
void SequenceProblem(Story* s) { AddSubtractProblem(s); }
void LogicProblem(Story* s) { AddSubtractProblem(s); }
void LettersProblem(Story* s) { AddSubtractProblem(s); }
}
