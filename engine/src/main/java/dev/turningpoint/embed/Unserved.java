package dev.turningpoint.embed;

import jdk.jfr.Category;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;
import jdk.jfr.Timespan;

/** A call was answered without being served: refused, cancelled, expired, closed or failed. */
@Name("dev.turningpoint.Unserved")
@Label("Call not served")
@Category("TurningPoint")
@StackTrace(false)
final class Unserved extends Event {
    private static final Unserved PROBE = new Unserved();

    @Label("Session") String session;
    @Label("Outcome") String outcome;
    @Label("Time since submission") @Timespan long age;

    static void commit(Session session, String outcome, long age) {
        if (!PROBE.isEnabled()) return;
        var event = new Unserved();
        event.session = session.toString();
        event.outcome = outcome;
        event.age = age;
        event.commit();
    }
}
