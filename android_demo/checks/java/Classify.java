import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.spartanc.core.Bundle;
import org.spartanc.core.Classifier;
import org.spartanc.core.FolderSource;
import org.spartanc.core.Json;
import org.spartanc.core.Prediction;
import org.spartanc.demo.ExecuTorchProgram;

/**
 * Classify BUNDLES SCRATCH TEXTS OUT: every text (a line each, a JSON list of 1 or 2) by every bundle below BUNDLES.
 *
 * <p>A line of OUT is the bundle's name (with a slash and the task's, where the program is shared), then label and probability of every class, apart by tabs.
 */
public final class Classify {
  private Classify() {}

  public static void main(String[] arguments) throws Exception {
    Opener.openRuntime();
    try (BufferedWriter out = Files.newBufferedWriter(Paths.get(arguments[3]), StandardCharsets.UTF_8)) {
      File[] bundles = new File(arguments[0]).listFiles();
      Arrays.sort(bundles);
      for (File folder : bundles) {
        Bundle bundle = Bundle.open(new FolderSource(folder), null);
        File scratch = new File(arguments[1]);
        boolean shared = !bundle.tasks().isEmpty();
        List<String> tasks = shared ? bundle.tasks() : Collections.singletonList("");
        try (Classifier classifier = new Classifier(bundle, ExecuTorchProgram.load(bundle.program(scratch)),
            bundle.task(tasks.get(0), scratch))) {
          for (String task : tasks) {
            classifier.use(bundle.task(task, scratch));
            classify(classifier, shared ? folder.getName() + "/" + task : folder.getName(), arguments[2], out);
          }
        }
      }
    }
    System.out.println(System.getProperty("os.arch"));
  }

  private static void classify(Classifier classifier, String name, String texts, BufferedWriter out) throws Exception {
    try (BufferedReader in = Files.newBufferedReader(Paths.get(texts), StandardCharsets.UTF_8)) {
      for (String line; (line = in.readLine()) != null; ) {
        List<?> row = (List<?>) Json.parse(line, "a line of texts");
        String second = row.size() > 1 ? (String) row.get(1) : null;
        out.write(name);
        for (Prediction.Score score : classifier.classify((String) row.get(0), second).scores) {
          out.write("\t" + score.label + "\t" + score.probability);
        }
        out.write("\n");
      }
    }
  }
}
