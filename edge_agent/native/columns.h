/* Counts -> a profile's columns, in file order. */
#ifndef EDGE_IDS_COLUMNS_H
#define EDGE_IDS_COLUMNS_H

#include "flow.h"

enum { CIC2017_COLUMNS = 78, IMPROVED_COLUMNS = 81, CONTEXT_COLUMNS = 21 };

void cic2017_columns(const struct flow *flow, const struct counts *counts, double *out);
void improved_columns(const struct flow *flow, const struct counts *counts, double *out);

/* The same of a row of one packet, where almost everything is 0. */
void improved_columns_of_first(const struct flow *flow, double *out);

#endif
