"""Pure planning: Problem in, Plan out. problem, plan and check load neither numpy nor OR-Tools."""
