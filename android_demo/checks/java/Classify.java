import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
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
 * <p>A line of OUT is the bundle's name, then label and probability of every class, apart by tabs.
 */
public final class Classify {
  private Classify() {}

  public static void main(String[] arguments) throws Exception {
    Opener.openRuntime();
    try (BufferedWriter out = Files.newBufferedWriter(Paths.get(arguments[3]), StandardCharsets.UTF_8)) {
      File[] bundles = new File(arguments[0]).listFiles();
      java.util.Arrays.sort(bundles);
      for (File folder : bundles) {
        Bundle bundle = Bundle.open(new FolderSource(folder), null);
        File program = bundle.program(new File(arguments[1]));
        try (Classifier classifier = new Classifier(bundle, ExecuTorchProgram.load(program));
            BufferedReader in = Files.newBufferedReader(Paths.get(arguments[2]), StandardCharsets.UTF_8)) {
          for (String line; (line = in.readLine()) != null; ) {
            List<?> texts = (List<?>) Json.parse(line, "a line of texts");
            String second = texts.size() > 1 ? (String) texts.get(1) : null;
            out.write(folder.getName());
            for (Prediction.Score score : classifier.classify((String) texts.get(0), second).scores) {
              out.write("\t" + score.label + "\t" + score.probability);
            }
            out.write("\n");
          }
        }
      }
    }
    System.out.println(System.getProperty("os.arch"));
  }
}
