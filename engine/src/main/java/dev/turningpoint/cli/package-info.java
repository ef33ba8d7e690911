/**
 * The command line: arguments in, exit status and lines out, one class per command.
 * It calls train, model, reward, check and report and is called by nobody.
 * What a user got wrong ends here in one line on the error stream; everything below throws.
 */
package dev.turningpoint.cli;
