package org.spartanc.demo;

import android.app.Application;

/** Holds the one worker of the process. */
public final class DemoApplication extends Application {
  private Worker worker;

  Worker worker() {
    if (worker == null) worker = new Worker(this);
    return worker;
  }
}
