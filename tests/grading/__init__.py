"""The grader, attacked: hostile submissions earn and reach nothing; right ones, however odd, get their marks."""
