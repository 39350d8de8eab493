"""The grader, attacked: hostile submissions earn nothing and reach nothing; right ones, however odd, get their marks."""
