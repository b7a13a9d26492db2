package org.spartanc.core;

import java.io.File;
import java.io.IOException;
import java.security.PublicKey;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * The tasks of all bundles in one place, of which one at a time is chosen and answers. For one thread at a time.
 *
 * <p>A task is named as its bundle, or where bundles share a program among tasks as bundle and task, apart by a slash.
 * Going to another task of the same bundle keeps the loaded program: it is given other tensors.
 */
public final class Catalog implements AutoCloseable {
  private static final String TASKS = "tasks/";
  private static final String TASK_SUFFIX = ".safetensors";

  /** Loads a program from a file. */
  public interface Loader {
    Program load(File file) throws InputException;
  }

  private final Source bundles;
  private final File folder;
  private final PublicKey key;
  private final Loader loader;

  private Classifier classifier;
  private Bundle bundle;
  private String bundleName;
  private boolean chosen;
  private boolean tidy;

  /**
   * @param bundles a folder for every bundle
   * @param folder where programs and tasks are copied to, for a runtime that wants files; copies of bundles that are
   *     gone are removed from it
   * @param key what bundles must be signed with, or null where no signature is asked for
   */
  public Catalog(Source bundles, File folder, PublicKey key, Loader loader) {
    this.bundles = bundles;
    this.folder = folder;
    this.key = key;
    this.loader = loader;
  }

  /** Names of all tasks, sorted; a bundle is not opened, and so not checked, before one of its tasks is chosen. */
  public List<String> tasks() throws IOException {
    Map<String, List<String>> found = new TreeMap<>();
    for (String file : new TreeSet<>(bundles.names())) {
      int slash = file.indexOf('/');
      if (slash < 0) continue;
      String name = file.substring(0, slash);
      if (!found.containsKey(name)) found.put(name, new ArrayList<String>());
      String rest = file.substring(slash + 1);
      if (rest.startsWith(TASKS) && rest.endsWith(TASK_SUFFIX)) {
        found.get(name).add(name + "/" + rest.substring(TASKS.length(), rest.length() - TASK_SUFFIX.length()));
      }
    }
    List<String> result = new ArrayList<>();
    for (Map.Entry<String, List<String>> each : found.entrySet()) {
      if (each.getValue().isEmpty()) result.add(each.getKey());
      else result.addAll(each.getValue());
    }
    return result;
  }

  /** Makes {@code task} the one that answers. Where it is refused none does, until another is chosen. */
  public void choose(String task) throws InputException {
    int slash = task.indexOf('/');
    String name = slash < 0 ? task : task.substring(0, slash);
    String wanted = slash < 0 ? null : task.substring(slash + 1);
    chosen = false;
    if (classifier != null && name.equals(bundleName)) {
      classifier.use(bundle.task(wanted, folder));
    } else {
      close();
      bundle = Bundle.open(bundles.below(name), key);
      // Now, before anything is copied to where an earlier version's program may fill the storage.
      if (!tidy) Leftovers.remove(bundles, folder);
      tidy = true;
      Task first = bundle.task(wanted, folder);
      classifier = new Classifier(bundle, loader.load(bundle.program(folder)), first);
      bundleName = name;
    }
    chosen = true;
  }

  /** See {@link Classifier#classify}; by the task that was chosen last. */
  public Prediction classify(String text, String second) throws InputException {
    if (!chosen) throw new InputException("no task is loaded");
    return classifier.classify(text, second);
  }

  /** Lets go of the loaded program. Another task can be chosen afterwards. */
  @Override
  public void close() {
    if (classifier != null) classifier.close();
    classifier = null;
    bundle = null;
    bundleName = null;
    chosen = false;
  }
}
