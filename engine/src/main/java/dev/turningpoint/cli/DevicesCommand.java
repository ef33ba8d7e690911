package dev.turningpoint.cli;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;

@Command(name = "devices", description = "Shows the device that would be used, and why.")
final class DevicesCommand implements Callable<Integer> {
    @Override
    public Integer call() { throw new CommandException("devices is not served yet"); }
}
