/* Runs a harness over files: for compilers without libFuzzer, memory checkers and coverage. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) return perror(path), 1;
    const long size = ftell(file);
    if (size < 0 || fseek(file, 0, SEEK_SET)) return perror(path), 1;
    uint8_t *data = malloc((size_t)size);
    const size_t bytes = fread(data, 1, (size_t)size, file);
    fclose(file);
    /* Said first: of a run that ends here, the last line is the input that ended it. */
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(data, bytes);
    free(data);
    return 0;
}

int main(int count, char **paths)
{
    int failed = 0;
    for (int i = 1; i < count; i++) failed |= replay(paths[i]);
    return failed;
}
