/* What a C programmer would write for one asset: the textbook filter on mean and covariance, sizes known when compiling.
 *
 * linear_update: N states, constant transition and process noise, one scalar measurement a sample. No gate, no learning,
 * no bounds, no check of the sample. tank_update: the extended filter of edgetwin/library/tank.yaml with one midpoint
 * step; the level is measured.
 */
#include <math.h>
#include <stdint.h>

#ifndef N
#define N 2
#endif

typedef struct {
    double x[N], P[N][N];
    int64_t t;
} twin;

typedef struct {
    double F[N][N], Q[N][N], h[N], r;
} model;

static void propagate(double P[N][N], const double F[N][N], const double Q[N][N])
{
    double A[N][N];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < N; k++)
                sum += F[i][k] * P[k][j];
            A[i][j] = sum;
        }
    for (int i = 0; i < N; i++)
        for (int j = i; j < N; j++) {
            double sum = Q[i][j];
            for (int k = 0; k < N; k++)
                sum += A[i][k] * F[j][k];
            P[i][j] = P[j][i] = sum;
        }
}

static void fuse(twin *w, const double h[N], double y, double r)
{
    double g[N], s = r;
    for (int i = 0; i < N; i++) {
        g[i] = 0;
        for (int k = 0; k < N; k++)
            g[i] += w->P[i][k] * h[k];
    }
    for (int i = 0; i < N; i++)
        s += h[i] * g[i];
    for (int i = 0; i < N; i++) {
        double gain = g[i] / s;
        w->x[i] += gain * y;
        for (int j = i; j < N; j++)
            w->P[i][j] = w->P[j][i] = w->P[i][j] - gain * g[j];
    }
}

int twin_size(void) { return sizeof(twin); }

void linear_update(twin *twins, const model *m, const int32_t *slot, const int64_t *t, const double *z, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        twin *w = &twins[slot[k]];
        double x[N], y = z[k];
        w->t = t[k];
        for (int i = 0; i < N; i++) {
            x[i] = 0;
            for (int j = 0; j < N; j++)
                x[i] += m->F[i][j] * w->x[j];
        }
        for (int i = 0; i < N; i++) {
            w->x[i] = x[i];
            y -= m->h[i] * x[i];
        }
        propagate(w->P, m->F, m->Q);
        fuse(w, m->h, y, m->r);
    }
}

#if N == 2
/* A, a Cd, g, q_max, tau; command; standard deviation gained per square-root second by level and flow */
typedef struct {
    double area, orifice, g, q_max, tau, command, noise[2], r;
} tank;

static void slopes(const tank *p, const double x[2], double v[2], double J[2][2])
{
    double level = x[0] > 0.001 ? x[0] : 0.001, root = sqrt(2 * p->g * level), open = x[0] > 0;
    v[0] = (x[1] / 3600 - open * p->orifice * root) / p->area;
    v[1] = (p->q_max * p->command - x[1]) / p->tau;
    J[0][0] = x[0] > 0.001 ? -p->orifice * p->g / root / p->area : 0;
    J[0][1] = 1 / (3600 * p->area);
    J[1][0] = 0;
    J[1][1] = -1 / p->tau;
}

void tank_update(twin *twins, const tank *p, const int32_t *slot, const int64_t *t, const double *z, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        twin *w = &twins[slot[k]];
        double dt = 1e-9 * (t[k] - w->t), v[2], mid[2], J[2][2], F[2][2], B[2][2], Q[2][2];
        const double level[2] = {1, 0};
        w->t = t[k];
        slopes(p, w->x, v, J);
        for (int i = 0; i < 2; i++) {
            mid[i] = w->x[i] + 0.5 * dt * v[i];
            for (int j = 0; j < 2; j++)
                B[i][j] = (i == j) + 0.5 * dt * J[i][j];
        }
        slopes(p, mid, v, J);
        for (int i = 0; i < 2; i++) {
            w->x[i] += dt * v[i];
            if (w->x[i] < 0)
                w->x[i] = 0;
            for (int j = 0; j < 2; j++) {
                double square = J[i][0] * J[0][j] + J[i][1] * J[1][j];
                F[i][j] = (i == j) + dt * J[i][j] + 0.5 * dt * dt * square;
                Q[i][j] = 0;
                for (int m = 0; m < 2; m++)
                    Q[i][j] += B[i][m] * B[j][m] * p->noise[m] * p->noise[m] * dt;
            }
        }
        propagate(w->P, F, Q);
        fuse(w, level, z[k] - w->x[0], p->r);
        for (int i = 0; i < 2; i++)
            if (w->x[i] < 0)
                w->x[i] = 0;
    }
}
#endif
