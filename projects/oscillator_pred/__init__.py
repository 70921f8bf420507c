"""The motion of driven, damped, nonlinear oscillators, predicted from the force: a signal from a signal."""
