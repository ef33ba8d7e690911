package dev.turningpoint.kernels.cases;

/** What a case does with an array. */
public enum Role {
    /** Its content is given and stays. */
    READ,
    /** Its content is undefined before and a result afterwards. */
    WRITE,
    /** Its content is given, and a result afterwards. */
    READ_WRITE,
    /** Undefined before and of no interest afterwards: what one launch of the case leaves to the next. */
    SCRATCH
}
