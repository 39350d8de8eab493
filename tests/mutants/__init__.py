"""The checks of the labs, checked: the reference must pass, the start and every wrong solution must be refused."""
