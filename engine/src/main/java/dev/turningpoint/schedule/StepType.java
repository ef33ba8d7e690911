package dev.turningpoint.schedule;

/** The stochastic step inside the trained window: Flow-SDE (Flow-GRPO), coefficient-preserving (Flow-CPS), DanceGRPO's, or none. */
public enum StepType { SDE, CPS, DANCE, ODE }
